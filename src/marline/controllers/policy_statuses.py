"""What becomes of policies, written to their statuses."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from marline.api.resource import Ref
from marline.compile.policy_status import policy_status
from marline.controllers.status_writes import keep_trying, rfc3339, write_status
from marline.mesh.model import Impact
from marline.store.interface import ResourceStore
from marline.xds.hub import Hub


@dataclass(slots=True)
class PolicyStatuses:
    """Of each policy that a change may concern: itself, another for the same target, the target."""

    store: ResourceStore
    hub: Hub
    clock: Callable[[], datetime]
    _dirty: set[Ref] = field(default_factory=set)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def changed(self, impact: Impact) -> None:
        self._dirty |= impact.policies
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
        policy = self.hub.snapshot.resource(ref)
        if policy is None:
            return
        status = policy_status(self.hub.snapshot, policy, rfc3339(self.clock()))
        if status is not None:
            await write_status(self.store, ref, status)
