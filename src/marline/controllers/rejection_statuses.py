"""The shell around `Rejections`: fed by the hub, it writes the conditions through the store."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from marline.api.registry import GATEWAY_API
from marline.api.resource import Ref
from marline.controllers.rejections import Rejection, Rejections, with_condition
from marline.controllers.status_writes import keep_trying, rfc3339, write_status
from marline.mesh.model import Proxy
from marline.store.interface import NotFound, ResourceStore
from marline.xds.messages import Refused, Settled


@dataclass(slots=True)
class RejectionStatuses:
    """Keeps the `Programmed` condition of every resource at fault current, but for the Gateway API's: their
    statuses have one writer, who asks `rejections` for these."""

    store: ResourceStore
    clock: Callable[[], datetime]
    gateways_at_fault: Callable[[], None] = lambda: None
    """Called when rejections of the Gateway API's resources have begun or ended."""
    rejections: Rejections = field(default_factory=Rejections)
    _dirty: set[Ref] = field(default_factory=set)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def refused(self, proxy: Proxy, refused: Refused) -> None:
        rejection = Rejection(proxy.node_id, refused.type_url, refused.name, refused.message)
        self._mark(self.rejections.rejected(rejection, refused.sources))

    def settled(self, proxy: Proxy, settled: Settled) -> None:
        self._mark(self.rejections.accepted(proxy.node_id, settled.type_url, (settled.name,)))

    def disconnected(self, proxy: Proxy) -> None:
        self._mark(self.rejections.gone(proxy.node_id))

    def _mark(self, refs: Collection[Ref]) -> None:
        own = {ref for ref in refs if ref.group != GATEWAY_API}
        if len(own) < len(refs):
            self.gateways_at_fault()
        self._dirty |= own
        if self._dirty:
            self._woken.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._dirty:
                await keep_trying(partial(self._write, self._dirty.pop()))

    async def _write(self, ref: Ref) -> None:
        try:
            resource = await self.store.get(ref)
        except NotFound:
            return
        status = with_condition(dict(resource.status), self.rejections.condition(ref), rfc3339(self.clock()))
        if status is not None:
            await write_status(self.store, ref, status)
