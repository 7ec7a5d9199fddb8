"""The shell around `Rejections` and `PatchMatches`: fed by the hub, it writes the conditions through the
store. One loop for both, since the conditions of a resource are one list."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from marline.api.resource import Ref
from marline.controllers.gateway_statuses import speaks_of
from marline.controllers.patch_matches import PATCHING, PatchMatches
from marline.controllers.rejections import BOOTSTRAP, Rejection, Rejections, with_condition
from marline.controllers.status_writes import keep_trying, rfc3339, write_status
from marline.mesh.model import ChangeSet, PatchId, Proxy
from marline.mesh.plugins import WASM_PLUGIN
from marline.mesh.token_policies import REQUEST_AUTHENTICATION
from marline.store.interface import NotFound, ResourceStore
from marline.xds.messages import Refused, Settled


@dataclass(slots=True)
class RejectionStatuses:
    """Keeps the `Programmed` condition of every resource at fault current, `Matched` of every patch, and
    `KeysFetched` of every RequestAuthentication; but not those of Gateways and their routes: they have one
    writer, who asks `rejections` for these."""

    store: ResourceStore
    clock: Callable[[], datetime]
    gateways_at_fault: Callable[[Collection[Ref]], None] = lambda refs: None
    """Called when rejections of resources of which it speaks have begun or ended."""
    module_fault: Callable[[Ref], str] = lambda ref: ""
    """Why a WasmPlugin has no module."""
    key_condition: Callable[[Ref], dict[str, Any] | None] = lambda ref: None
    """Whether a RequestAuthentication has its keys; None of other kinds."""
    rejections: Rejections = field(default_factory=Rejections)
    matches: PatchMatches = field(default_factory=PatchMatches)
    _dirty: set[Ref] = field(default_factory=set)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def connected(self, proxy: Proxy) -> None:
        """It says which patches its bootstrap is without; the Envoy before it may have said otherwise."""
        self._mark(self.rejections.accepted(proxy.node_id, BOOTSTRAP, (BOOTSTRAP,)))
        refused = Rejection(proxy.node_id, BOOTSTRAP, BOOTSTRAP, proxy.bootstrap.message)
        sources = {item.source for item in proxy.bootstrap.refused}
        self._mark(self.rejections.rejected(refused, sources))

    def refused(self, proxy: Proxy, refused: Refused) -> None:
        rejection = Rejection(proxy.node_id, refused.type_url, refused.name, refused.message)
        self._mark(self.rejections.rejected(rejection, refused.sources))

    def settled(self, proxy: Proxy, settled: Settled) -> None:
        self._mark(self.rejections.accepted(proxy.node_id, settled.type_url, (settled.name,)))

    def patched(self, proxy: Proxy, patches: frozenset[PatchId]) -> None:
        self._mark(self.matches.given(proxy.node_id, patches))

    def disconnected(self, proxy: Proxy) -> None:
        self._mark(self.rejections.gone(proxy.node_id))
        self._mark(self.matches.given(proxy.node_id, frozenset()))

    def changed(self, change: ChangeSet) -> None:
        """Of a patch that is new nobody has heard that it matches nothing; of keys, that they are awaited."""
        told = (*PATCHING, REQUEST_AUTHENTICATION)
        self._mark({item.ref for item in change.changed if (item.group, item.kind) in told})

    def keys_changed(self, refs: Collection[Ref]) -> None:
        """`key_condition` says something else of these."""
        self._mark(refs)

    def _mark(self, refs: Collection[Ref]) -> None:
        others = {ref for ref in refs if speaks_of(ref)}
        if others:
            self.gateways_at_fault(others)
        self._dirty.update(ref for ref in refs if ref not in others)
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
        conditions = []
        if (ref.group, ref.kind) in PATCHING:
            conditions.append(self.matches.condition(resource))
        if (ref.group, ref.kind) == WASM_PLUGIN:
            conditions.append(_module_condition(self.module_fault(ref)))
        keys = self.key_condition(ref)
        if keys is not None:
            conditions.append(keys)
        now, before = rfc3339(self.clock()), dict(resource.status)
        status = with_condition(before, self.rejections.condition(ref), now) or before
        for condition in conditions:
            status = with_condition(status, condition, now, always=True) or status
        if status is not before:
            await write_status(self.store, ref, status)


def _module_condition(fault: str) -> dict[str, Any]:
    status, reason = ("False", "NoModule") if fault else ("True", "Verified")
    return {"type": "ModuleVerified", "status": status, "reason": reason, "message": fault}
