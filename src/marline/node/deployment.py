"""Proxies for Gateways that nobody has described one for (istio.io, "Kubernetes Gateway API", "Automated
Deployment").

A Gateway of the Gateway API, of one of Marline's classes, gets an Envoy of its own at an address of its own,
as long as it is there and no application file has a gateway that serves it. What is wanted is an application,
like that of a file, so the host does the rest.
"""

import asyncio
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from marline.api.errors import InvalidResource
from marline.api.gateway_api.gateway import GatewaySpec as ApiGatewaySpec
from marline.api.gateway_api.shared import GROUP
from marline.api.resource import Ref, Resource
from marline.mesh.gateways import is_for, is_managed
from marline.mesh.model import MeshSettings
from marline.mesh.selection import GATEWAY_NAME_LABEL
from marline.mesh.snapshot import MeshSnapshot, advance, empty
from marline.node.application import Application
from marline.node.errors import AgentRefused
from marline.node.gateway_service import remove_service, service_of, service_ref, write_service
from marline.node.host import Host
from marline.node.plan import gateway_labels
from marline.node.workload import GatewaySpec
from marline.store.interface import ResourceStore, StoreError

APPLICATION: Final = "Gateway API"
"""What these proxies belong to; no application file can have this name."""
_READ: Final = ((GROUP, "Gateway"), (GROUP, "GatewayClass"))
_RETRY_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


def undescribed(
    snapshot: MeshSnapshot, described: Iterable[GatewaySpec]
) -> tuple[Resource[ApiGatewaySpec], ...]:
    """The Gateways that are to have a proxy of their own; `described` are those of application files."""
    known = [(gateway_labels(spec), spec.namespace) for spec in described]
    return tuple(
        gateway
        for gateway in sorted(snapshot.resources(GROUP, "Gateway"), key=lambda item: item.ref)
        if is_managed(snapshot, gateway)
        and not any(is_for(labels, namespace, gateway) for labels, namespace in known)
    )


def deployed(gateways: Iterable[Resource[ApiGatewaySpec]]) -> Application:
    """Their proxies."""
    return Application(APPLICATION, gateways=tuple(_proxy(gateway) for gateway in gateways))


def _name(gateway: Resource[ApiGatewaySpec]) -> str:
    """Of the proxy and its Service, as in Istio: `<gateway>-<class>`."""
    return f"{gateway.name}-{gateway.spec.gateway_class_name}"


def _proxy(gateway: Resource[ApiGatewaySpec]) -> GatewaySpec:
    spec = gateway.spec
    given = spec.infrastructure.labels if spec.infrastructure is not None else {}
    asked = (item.value for item in spec.addresses if item.type == "IPAddress")
    return GatewaySpec(
        name=_name(gateway),
        namespace=gateway.namespace,
        bind=next(asked, ""),
        labels={**given, GATEWAY_NAME_LABEL: gateway.name},
    )


@dataclass(slots=True)
class GatewayDeployment:
    """Follows the mesh's Gateways, and what application files describe."""

    store: ResourceStore
    host: Host
    _snapshot: MeshSnapshot = field(default_factory=lambda: empty(MeshSettings()))
    _services: dict[Ref, dict[str, Any]] = field(default_factory=dict)
    """What was written."""
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.host.changed = self._woken.set

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="Gateways")
            group.create_task(self._deploy(), name="deploy Gateways")

    async def _follow(self) -> None:
        while True:
            try:
                first = True
                async for change in self.store.watch(_READ):
                    before = empty(MeshSettings()) if first else self._snapshot
                    self._snapshot, _ = advance(before, change)
                    first = False
                    self._woken.set()
            except StoreError as error:
                _log.info("the store is away: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _deploy(self) -> None:
        done = Application(APPLICATION)
        retry = False
        while True:
            await self._wait(retry=retry or self.host.has_failed(APPLICATION))
            gateways = undescribed(self._snapshot, self.host.gateways(without=APPLICATION))
            wanted = deployed(gateways)
            if wanted != done or self.host.has_failed(APPLICATION):
                try:
                    await self.host.up(wanted)
                except AgentRefused:
                    return  # it is stopping, and everything with it
                done = wanted
            retry = not await self._write_services(gateways)

    async def _write_services(self, gateways: Iterable[Resource[ApiGatewaySpec]]) -> bool:
        """Bring the Services to these Gateways; False if it is to be tried again."""
        found = {}
        for gateway in gateways:
            name = _name(gateway)
            made = service_of(gateway, name, self.host.machine.node, is_root=os.geteuid() == 0)
            if made is not None:
                found[service_ref(gateway.namespace, name)] = made
        try:
            for ref in self._services.keys() - found.keys():
                await remove_service(self.store, ref)
                del self._services[ref]
            for ref, service in found.items():
                if self._services.get(ref) == service:
                    continue
                if not await write_service(self.store, service):
                    _log.warning("%s is not the Gateway's, and is left alone", ref)
                self._services[ref] = service
        except (StoreError, InvalidResource) as error:
            _log.warning("the Services of Gateways cannot be written: %s", error)
            return False
        return True

    async def _wait(self, *, retry: bool) -> None:
        """Until something changed; what has failed is tried again after a while."""
        try:
            async with asyncio.timeout(_RETRY_SECONDS if retry else None):
                await self._woken.wait()
        except TimeoutError:
            return
        self._woken.clear()
