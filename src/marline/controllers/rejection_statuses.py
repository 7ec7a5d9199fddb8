"""The shell around `Rejections`: fed by the hub, it writes the conditions through the store."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from marline.api.resource import Ref
from marline.controllers.rejections import Rejection, Rejections, with_condition
from marline.controllers.status_writes import keep_trying, rfc3339, write_status
from marline.mesh.model import Proxy
from marline.store.interface import NotFound, ResourceStore
from marline.xds.messages import Refused, Settled


@dataclass(slots=True)
class RejectionStatuses:
    """Keeps the `Programmed` condition of every resource at fault current."""

    store: ResourceStore
    clock: Callable[[], datetime]
    _rejections: Rejections = field(default_factory=Rejections)
    _dirty: set[Ref] = field(default_factory=set)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def refused(self, proxy: Proxy, refused: Refused) -> None:
        rejection = Rejection(proxy.node_id, refused.type_url, refused.name, refused.message)
        self._mark(self._rejections.rejected(rejection, refused.sources))

    def settled(self, proxy: Proxy, settled: Settled) -> None:
        self._mark(self._rejections.accepted(proxy.node_id, settled.type_url, (settled.name,)))

    def disconnected(self, proxy: Proxy) -> None:
        self._mark(self._rejections.gone(proxy.node_id))

    def _mark(self, refs: Iterable[Ref]) -> None:
        self._dirty.update(refs)
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
        status = with_condition(dict(resource.status), self._rejections.condition(ref), rfc3339(self.clock()))
        if status is not None:
            await write_status(self.store, ref, status)
