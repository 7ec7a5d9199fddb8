"""The compiler's verdict on Gateways of both APIs, and on the Gateway API's routes, in their statuses."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from marline.api.registry import GATEWAY_API
from marline.api.resource import Ref
from marline.compile.gateway_api_status import gateway_statuses, route_statuses, statuses
from marline.compile.gateway_status import istio_statuses
from marline.controllers.rejections import Rejections
from marline.controllers.status_writes import keep_trying, rfc3339, write_status
from marline.mesh.model import Impact, Proxy, Role
from marline.mesh.rules import ISTIO_GATEWAY, SERVERS
from marline.store.interface import ResourceStore
from marline.xds.hub import Hub


def speaks_of(ref: Ref) -> bool:
    """Is the status of a resource written here, all of it?"""
    return ref.group == GATEWAY_API or (ref.group, ref.kind) == ISTIO_GATEWAY


@dataclass(slots=True)
class GatewayStatuses:
    """What a change of routes may concern is asked about anew: these, and Gateways when they may have others
    than before. Everything is, when something else that gateways read has changed, when a gateway comes or
    goes, or when one rejects what was made of a Gateway."""

    store: ResourceStore
    hub: Hub
    rejections: Rejections
    clock: Callable[[], datetime]
    _everything: bool = False
    _gateways: bool = False
    _routes: set[Ref] = field(default_factory=set)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def changed(self, impact: Impact) -> None:
        self._everything |= impact.gateways or impact.everything
        self._gateways |= impact.attachments
        self._routes |= impact.routes
        self._wake()

    def came_or_went(self, proxy: Proxy) -> None:
        self._everything |= proxy.role is Role.GATEWAY
        self._wake()

    def at_fault(self, refs: Collection[Ref]) -> None:
        """Proxies reject what was made of these, or do so no more."""
        self._everything |= any((ref.group, ref.kind) in SERVERS for ref in refs)
        self._routes |= set(refs)
        self._wake()

    def _wake(self) -> None:
        if self._everything or self._gateways or self._routes:
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
        everything, gateways, routes = self._everything, self._gateways, sorted(self._routes, key=str)
        self._everything = self._gateways = False
        self._routes.clear()
        if everything:
            yield from statuses(snapshot, now, proxies, rejected)
            yield from istio_statuses(snapshot, now, proxies, rejected)
            return
        yield from route_statuses(snapshot, routes, now, rejected)
        if gateways:
            yield from gateway_statuses(snapshot, now, proxies, rejected)
