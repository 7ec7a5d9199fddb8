"""The compiler's verdict on Gateway API resources, written to their statuses."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from marline.compile.gateway_api_status import statuses
from marline.controllers.rejections import Rejections
from marline.controllers.status_writes import keep_trying, rfc3339, write_status
from marline.mesh.model import Impact, Proxy, Role
from marline.store.interface import ResourceStore
from marline.xds.hub import Hub


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
        if impact.gateways or impact.everything:
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
            for ref, status in statuses(self.hub.snapshot, now, gateways, self.rejections.message):
                await keep_trying(partial(write_status, self.store, ref, status))
