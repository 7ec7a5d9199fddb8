"""Proxies for Gateways that nobody has described one for (istio.io, "Kubernetes Gateway API", "Automated
Deployment").

A Gateway of the Gateway API, of one of Marline's classes, gets an Envoy of its own at an address of its own,
as long as it is there and no application file has a gateway that serves it. What is wanted is an application,
like that of a file, so the host does the rest.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from marline.api.gateway_api.gateway import GatewaySpec as ApiGatewaySpec
from marline.api.gateway_api.shared import GROUP
from marline.api.resource import Resource
from marline.mesh.gateways import is_for, is_managed
from marline.mesh.model import MeshSettings
from marline.mesh.selection import GATEWAY_NAME_LABEL
from marline.mesh.snapshot import MeshSnapshot, advance, empty
from marline.node.application import Application
from marline.node.errors import AgentRefused
from marline.node.host import Host
from marline.node.plan import gateway_labels
from marline.node.workload import GatewaySpec
from marline.store.interface import ResourceStore, StoreError

APPLICATION: Final = "Gateway API"
"""What these proxies belong to; no application file can have this name."""
_READ: Final = ((GROUP, "Gateway"), (GROUP, "GatewayClass"))
_RETRY_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


def deployed(snapshot: MeshSnapshot, described: Iterable[GatewaySpec]) -> Application:
    """The proxies that Gateways are to have; `described` are those of application files."""
    known = [(gateway_labels(spec), spec.namespace) for spec in described]
    wanted = [
        _proxy(gateway)
        for gateway in sorted(snapshot.resources(GROUP, "Gateway"), key=lambda item: item.ref)
        if is_managed(snapshot, gateway)
        and not any(is_for(labels, namespace, gateway) for labels, namespace in known)
    ]
    return Application(APPLICATION, gateways=tuple(wanted))


def _proxy(gateway: Resource[ApiGatewaySpec]) -> GatewaySpec:
    """Named as in Istio: `<gateway>-<class>`."""
    spec = gateway.spec
    given = spec.infrastructure.labels if spec.infrastructure is not None else {}
    asked = (item.value for item in spec.addresses if item.type == "IPAddress")
    return GatewaySpec(
        name=f"{gateway.name}-{spec.gateway_class_name}",
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
        while True:
            await self._wait(retry=self.host.has_failed(APPLICATION))
            wanted = deployed(self._snapshot, self.host.gateways(without=APPLICATION))
            if wanted == done and not self.host.has_failed(APPLICATION):
                continue
            try:
                await self.host.up(wanted)
            except AgentRefused:
                return  # it is stopping, and everything with it
            done = wanted

    async def _wait(self, *, retry: bool) -> None:
        """Until something changed; what has failed is tried again after a while."""
        try:
            async with asyncio.timeout(_RETRY_SECONDS if retry else None):
                await self._woken.wait()
        except TimeoutError:
            return
        self._woken.clear()
