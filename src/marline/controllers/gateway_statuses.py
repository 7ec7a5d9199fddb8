"""The compiler's verdict on Gateways of both APIs, and on the Gateway API's routes, in their statuses."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from marline.api.registry import GATEWAY_API
from marline.api.resource import Ref
from marline.compile.gateway_api_status import statuses
from marline.compile.gateway_status import istio_statuses
from marline.controllers.rejections import Rejections
from marline.controllers.status_writes import keep_trying, rfc3339, write_status
from marline.mesh.model import Impact, Proxy, Role
from marline.mesh.rules import ISTIO_GATEWAY
from marline.store.interface import ResourceStore
from marline.xds.hub import Hub


def speaks_of(ref: Ref) -> bool:
    """Is the status of a resource written here, all of it?"""
    return ref.group == GATEWAY_API or (ref.group, ref.kind) == ISTIO_GATEWAY


@dataclass(slots=True)
class GatewayStatuses:
    """Recomputed when something that gateways read has changed, when a gateway comes or goes, or when one
    rejects what was made of them."""

    store: ResourceStore
    hub: Hub
    rejections: Rejections
    clock: Callable[[], datetime]
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def changed(self, impact: Impact) -> None:
        if impact.routes or impact.everything:
            self._woken.set()

    def came_or_went(self, proxy: Proxy) -> None:
        if proxy.role is Role.GATEWAY:
            self._woken.set()

    def at_fault(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            gateways = tuple(proxy for proxy in self.hub.proxies() if proxy.role is Role.GATEWAY)
            now = rfc3339(self.clock())
            snapshot, rejected = self.hub.snapshot, self.rejections.message
            api, istio = (make(snapshot, now, gateways, rejected) for make in (statuses, istio_statuses))
            for ref, status in (*api, *istio):
                await keep_trying(partial(write_status, self.store, ref, status))
