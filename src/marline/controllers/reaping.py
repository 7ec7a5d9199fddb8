"""The shell around `Reaper`: it compares registrations with connected proxies, and removes what is dead."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from marline.api.resource import Ref
from marline.controllers.reaper import Reaper, WorkloadName
from marline.mesh.endpoints import MANAGED_BY
from marline.mesh.model import ChangeSet, Proxy
from marline.store.interface import NotFound, ResourceStore, StoreError
from marline.xds.hub import Hub

_WORKLOAD_ENTRY: Final = ("networking.istio.io", "WorkloadEntry")

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Reaping:
    """Looks when proxies or registrations come or go, and when the reaper says that it is time."""

    store: ResourceStore
    hub: Hub
    reaper: Reaper = field(default_factory=Reaper)
    _managed: set[WorkloadName] = field(default_factory=set)
    """Kept from change to change: an endpoint's health is no reason to look through all registrations."""
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def changed(self, change: ChangeSet) -> None:
        for ref in change.removed:
            if (ref.group, ref.kind) == _WORKLOAD_ENTRY:
                self._note(WorkloadName(ref.namespace, ref.name), managed=False)
        for entry in change.changed:
            if (entry.ref.group, entry.ref.kind) == _WORKLOAD_ENTRY:
                managed = MANAGED_BY in entry.metadata.annotations
                self._note(WorkloadName(entry.namespace, entry.name), managed=managed)

    def _note(self, name: WorkloadName, *, managed: bool) -> None:
        if managed == (name in self._managed):
            return
        (self._managed.add if managed else self._managed.discard)(name)
        self._woken.set()

    def came_or_went(self, proxy: Proxy) -> None:
        self._woken.set()

    async def run(self) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        while True:
            wake_at = self.reaper.next_wake()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(wake_at):
                    await self._woken.wait()
            self._woken.clear()
            for name in self.reaper.step(loop.time(), self._managed, self._connected()):
                await self._remove(name)

    def absent(self) -> set[str]:
        """The registered workloads whose proxies are not connected, and may still come back."""
        return {f"{name.name}.{name.namespace}" for name in self._managed - set(self._connected())}

    def _connected(self) -> Iterator[WorkloadName]:
        for proxy in self.hub.proxies():
            for workload in proxy.workloads:
                yield WorkloadName(workload.namespace, workload.name)

    async def _remove(self, name: WorkloadName) -> None:
        ref = Ref(*_WORKLOAD_ENTRY, name.namespace, name.name)
        _log.warning("%s is removed: its proxy has been gone for %g s", ref, self.reaper.grace)
        try:
            await self.store.delete(ref)
        except NotFound:
            return
        except StoreError as error:
            _log.error("%s cannot be removed: %s", ref, error)
            self._woken.set()
