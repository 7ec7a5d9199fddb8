"""The compiler's verdict on Gateways of both APIs, and on the Gateway API's routes, in their statuses."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from marline.api.registry import GATEWAY_API
from marline.api.resource import Ref
from marline.compile.gateway_api_status import route_statuses, server_statuses, statuses
from marline.compile.gateway_status import istio_statuses
from marline.controllers.rejections import Rejections
from marline.controllers.status_writes import keep_trying, rfc3339, write_status
from marline.mesh.gateways import serving
from marline.mesh.model import Impact, Proxy, Role
from marline.mesh.rules import API_GATEWAY, ISTIO_GATEWAY, LISTENER_SET, SERVERS
from marline.store.interface import ResourceStore
from marline.xds.hub import Hub


def speaks_of(ref: Ref) -> bool:
    """Is the status of a resource written here, all of it?"""
    return ref.group == GATEWAY_API or (ref.group, ref.kind) == ISTIO_GATEWAY


@dataclass(slots=True)
class GatewayStatuses:
    """What a change may concern is asked about anew. Everything is when a GatewayClass or a ReferenceGrant
    has changed; of Istio's Gateways all are whenever listeners may be others, since they share proxies."""

    store: ResourceStore
    hub: Hub
    rejections: Rejections
    clock: Callable[[], datetime]
    _everything: bool = False
    _istio: bool = False
    _servers: set[Ref] = field(default_factory=set)
    _routes: set[Ref] = field(default_factory=set)
    _proxies: dict[str, Proxy] = field(default_factory=dict)
    """Those that came or went."""
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def changed(self, impact: Impact) -> None:
        self._everything |= impact.every_server or impact.everything
        self._istio |= impact.gateways
        self._servers |= impact.servers
        self._routes |= impact.routes
        self._wake()

    def came_or_went(self, proxy: Proxy) -> None:
        if proxy.role is Role.GATEWAY:
            self._proxies[proxy.node_id] = proxy
        self._wake()

    def at_fault(self, refs: Collection[Ref]) -> None:
        """Proxies reject what was made of these, or do so no more."""
        self._istio |= any((ref.group, ref.kind) == ISTIO_GATEWAY for ref in refs)
        self._servers |= {ref for ref in refs if (ref.group, ref.kind) in (API_GATEWAY, LISTENER_SET)}
        self._routes |= {ref for ref in refs if (ref.group, ref.kind) not in SERVERS}
        self._wake()

    def _wake(self) -> None:
        if self._everything or self._istio or self._servers or self._routes or self._proxies:
            self._woken.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            found = tuple(self._found())
            for ref, status in found:
                await keep_trying(partial(write_status, self.store, ref, status))

    def _found(self) -> Iterator[tuple[Ref, dict[str, Any]]]:
        """The statuses that differ from what the resources say."""
        proxies = tuple(proxy for proxy in self.hub.proxies() if proxy.role is Role.GATEWAY)
        snapshot, now, rejected = self.hub.snapshot, rfc3339(self.clock()), self.rejections.message
        everything, istio = self._everything, self._istio or bool(self._proxies)
        served = {item.ref for proxy in self._proxies.values() for item in serving(snapshot, proxy)}
        servers, routes = sorted(self._servers | served), sorted(self._routes)
        self._everything = self._istio = False
        for asked in (self._servers, self._routes, self._proxies):
            asked.clear()
        if everything:
            yield from statuses(snapshot, now, proxies, rejected)
        else:
            yield from route_statuses(snapshot, routes, now, rejected)
            yield from server_statuses(snapshot, servers, now, proxies, rejected)
        if everything or istio:
            yield from istio_statuses(snapshot, now, proxies, rejected)
