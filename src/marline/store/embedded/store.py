"""`EmbeddedStore`: the store of one machine, for those who live in the same process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final

from marline.api.errors import InvalidResource
from marline.api.registry import READ_BY_MESH
from marline.api.resource import Ref, Resource
from marline.mesh.model import ChangeSet
from marline.store.audit.log import AuditSettings
from marline.store.embedded.access.builtin import AUTO_UPDATE, builtin
from marline.store.embedded.access.policy import Policy
from marline.store.embedded.addresses import Addresses, Range
from marline.store.embedded.admission import KEPT
from marline.store.embedded.deletion import Deletion
from marline.store.embedded.index import Object, Stored
from marline.store.embedded.objects import Objects, Options, ref_of, timestamp, utc_now
from marline.store.embedded.state import HISTORY, State
from marline.store.interface import AlreadyExists, BadRequest, Expired, Listing, NotFound
from marline.store.patch import merge_patch
from marline.store.selectors import LabelSelector

SERVICE_CIDR: Final = "10.96.0.0/16"
ENTRY_CIDR: Final = "240.240.0.0/16"
EVENT_LIFETIME: Final = timedelta(hours=1)
"""As kube-apiserver's --event-ttl."""

_log = logging.getLogger(__name__)


class EmbeddedStore:
    """A `ResourceStore`. What is served over HTTP works on `objects` and `state`."""

    def __init__(self, state: State, objects: Objects, clock: Callable[[], datetime]) -> None:
        self.state = state
        self.objects = objects
        self.policy = Policy(state)
        self._clock = clock
        self._janitor = asyncio.create_task(self._expire_events(), name="store-event-expiry")

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        service_cidr: str = SERVICE_CIDR,
        entry_cidr: str = ENTRY_CIDR,
        history: int = HISTORY,
        audit: AuditSettings | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> "EmbeddedStore":
        """Open or make the database at `path`. `service_cidr` is where clusterIPs come from, `entry_cidr`
        where those of ServiceEntries do; `history` is how many changes a watch may be behind at least;
        `audit` says where the log of who changed what is, if there is one.
        Raises `Unavailable` if the file cannot be used, for one because another process does."""
        state = await State.open(path, history, audit)
        addresses = Addresses(Range(IPv4Network(service_cidr)), Range(IPv4Network(entry_cidr)))
        store = cls(state, Objects(state, addresses, clock), clock)
        for namespace in KEPT:
            try:
                await store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            except AlreadyExists:
                continue
        await store.mend_roles()
        return store

    async def mend_roles(self) -> None:
        """All that is not there, and what roles lack that they should have."""
        due = [due for obj in builtin() if (due := self._due(obj))]
        if due:
            await self.apply_all(due, field_manager="marline", force=True)

    def _due(self, obj: dict[str, Any]) -> dict[str, Any] | None:
        stored = self.state.current.get(ref_of(obj))
        if stored is None:
            return obj
        held = stored.obj.get("rules") or ()
        missing = [rule for rule in obj.get("rules") or () if rule not in held]
        if not missing or (stored.metadata.get("annotations") or {}).get(AUTO_UPDATE) != "true":
            return None
        return {**obj, "rules": [*held, *missing]}

    async def close(self) -> None:
        """Finish the writes that are under way and release the file."""
        self._janitor.cancel()
        await asyncio.gather(self._janitor, return_exceptions=True)
        await self.state.close()

    async def get(self, ref: Ref) -> Resource[Any]:
        return self.objects.get(ref).resource

    async def list(self, group: str, kind: str, namespace: str = "", label_selector: str = "") -> Listing:
        try:
            selector = LabelSelector.parse(label_selector)
        except ValueError as error:
            raise BadRequest(str(error)) from error
        found = self.state.current.of_kind(group, kind, namespace)
        chosen = [stored for stored in found if selector.matches(stored.labels)]
        return Listing(_typed(chosen), str(self.state.resource_version))

    async def create(self, obj: Object, *, dry_run: bool = False) -> Resource[Any]:
        return (await self.objects.create(obj, Options(dry_run=dry_run))).resource

    async def update(self, obj: Object, *, dry_run: bool = False) -> Resource[Any]:
        return (await self.objects.update(obj, Options(dry_run=dry_run))).resource

    async def apply(
        self, obj: Object, *, field_manager: str, force: bool = False, dry_run: bool = False
    ) -> Resource[Any]:
        options = Options(field_manager, dry_run=dry_run, force=force)
        return (await self.objects.apply(obj, options)).resource

    async def apply_all(
        self, objs: Sequence[Object], *, field_manager: str, force: bool = False
    ) -> tuple[Resource[Any], ...]:
        applied = await self.objects.apply_all(objs, Options(field_manager, force=force))
        return tuple(stored.resource for stored in applied)

    async def patch_status(self, ref: Ref, status: Mapping[str, Any]) -> Resource[Any]:
        version = self.objects.get(ref).obj["apiVersion"].rpartition("/")[2]
        change = partial(_merge, patch={"status": status})
        return (await self.objects.patch(ref, version, change, Options(subresource="status"))).resource

    async def delete(self, ref: Ref, *, resource_version: str = "") -> None:
        await self.objects.delete(ref, Deletion(resource_version=resource_version))

    async def watch(self, kinds: tuple[tuple[str, str], ...] = ()) -> AsyncIterator[ChangeSet]:
        wanted = frozenset(kinds or READ_BY_MESH)
        known: set[Ref] = set()
        while True:
            rv = self.state.resource_version
            full = [stored for kind in sorted(wanted) for stored in self.state.current.of_kind(*kind)]
            gone = tuple(sorted(known - {stored.ref for stored in full}))
            known = {stored.ref for stored in full}
            yield ChangeSet(_typed(full), gone, str(rv))
            try:
                while True:
                    await self.state.history.grown(rv)
                    events = self.state.history.after(rv)
                    rv = events[-1].rv
                    last = {event.stored.ref: event for event in events if event.stored.ref[:2] in wanted}
                    if last:
                        # What came and went between two looks was never seen.
                        gone = tuple(
                            ref for ref, event in last.items() if event.type == "DELETED" and ref in known
                        )
                        kept = [event.stored for event in last.values() if event.type != "DELETED"]
                        known.difference_update(gone)
                        known.update(stored.ref for stored in kept)
                        yield ChangeSet(_typed(kept), gone, str(rv))
            except Expired:
                # The reader was too slow for the history: it gets the full state, and what went meanwhile.
                continue

    async def _expire_events(self) -> None:
        """Events are news: what is older than `EVENT_LIFETIME` is deleted."""
        while True:
            await asyncio.sleep(60)
            oldest = timestamp(self._clock() - EVENT_LIFETIME)
            for stored in self.state.current.of_kind("", "Event"):
                if str(stored.obj.get("lastTimestamp") or stored.metadata["creationTimestamp"]) < oldest:
                    try:
                        await self.objects.delete(stored.ref, Deletion(uid=stored.uid))
                    except NotFound:
                        continue


def _merge(obj: Object, patch: Object) -> Any:
    return merge_patch(obj, patch)


def _typed(found: list[Stored]) -> tuple[Resource[Any], ...]:
    """Objects that an older version of the models let in and this one does not are left out, loudly."""
    typed = []
    for stored in found:
        try:
            typed.append(stored.resource)
        except InvalidResource as error:
            _log.error("a stored object is left out: %s", error)
    return tuple(typed)
