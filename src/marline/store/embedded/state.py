"""The state of the store: what is, what is being written, and what has changed lately.

A writer computes its change from `head`, which holds also what is on its way to disk; it does so
without awaiting anything, so writers never race. Changes that come together share one transaction.
When they are on disk they are published, in order: readers see `current`, watches see `History`.
A transaction that fails takes down every change queued behind it, since they were computed from it.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from marline.api.resource import Ref
from marline.store.audit.anchors import CHANGES
from marline.store.audit.log import AuditLog, AuditSettings
from marline.store.audit.records import Author, Draft, Head, Target, differences
from marline.store.embedded.index import Index, Object, Stored
from marline.store.embedded.sqlite import Database, Row
from marline.store.interface import Expired, Unavailable

HISTORY = 10_000
"""Changes that are remembered at least; twice as many at most."""


@dataclass(frozen=True)
class Event:
    """One change: ADDED, MODIFIED or DELETED (then `stored` is the last state, at the new version)."""

    type: str
    stored: Stored
    old: Stored | None
    """The state before, if there was one and it is still known."""
    old_labels: dict[str, str]

    @property
    def rv(self) -> int:
        return self.stored.rv

    @cached_property
    def lines(self) -> dict[Any, bytes]:
        """What watches send for this event, by form; each is made once for all of them."""
        return {}


class History:
    """The last changes. Watches hold a version, not a queue, so a slow one costs nothing."""

    def __init__(self, events: list[Event], floor: int, last: int) -> None:
        self._events = events
        self._versions = [event.rv for event in events]
        self.floor = floor
        self.last = last
        self._grown = asyncio.Event()

    def after(self, rv: int) -> list[Event]:
        """The changes after a version; raises `Expired` if not all are known any more."""
        if rv < self.floor or rv > self.last:
            raise Expired(str(rv))
        return self._events[bisect_right(self._versions, rv) :]

    async def grown(self, rv: int) -> None:
        """Wait until there is something after a version."""
        while self.last <= rv:
            await self._grown.wait()

    def add(self, events: list[Event]) -> None:
        self._events.extend(events)
        self._versions.extend(event.rv for event in events)
        self.last = events[-1].rv
        self._grown.set()
        self._grown = asyncio.Event()

    def forget(self, keep: int) -> int:
        """Forget all but the last `keep` changes; returns the new floor."""
        drop = max(0, len(self._events) - keep)
        if drop:
            self.floor = self._versions[drop - 1]
            del self._events[:drop], self._versions[:drop]
        return self.floor

    def __len__(self) -> int:
        return len(self._events)


@dataclass(slots=True)
class Transaction:
    """Changes that are made together."""

    events: list[Event] = field(default_factory=list)
    author: Author | None = None
    """Who is answerable for it; None: the control plane itself, whose changes are not audited."""
    drafts: list[Draft] = field(default_factory=list)
    """What else is to be in the audit log."""
    done: asyncio.Future[None] | None = None


class State:
    """Use `open`; then `begin`, `put` and `remove` without awaiting in between, then `commit`."""

    def __init__(
        self, database: Database, executor: ThreadPoolExecutor, history: int, audit: AuditLog | None = None
    ) -> None:
        self._database = database
        self._audit = audit
        self._executor = executor
        self._keep = history
        self._waiting: list[Transaction] = []
        self._wake = asyncio.Event()
        self._closed = False
        self.current = Index()
        self.history = _load(database, self.current)
        self.head = self.current.copy()
        self._last_assigned = self.history.last
        self._writing: list[Transaction] = []
        self._writer = asyncio.create_task(self._write(), name="store-writer")
        self._writer.add_done_callback(self._writer_ended)

    @classmethod
    async def open(cls, path: Path, history: int = HISTORY, audit: AuditSettings | None = None) -> Self:
        """Raises `Unavailable` if the file cannot be opened, or another process has it open."""
        executor = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        try:
            opened = await asyncio.get_running_loop().run_in_executor(executor, _open, path, audit)
        except Unavailable:
            executor.shutdown(wait=False)
            raise
        return cls(opened[0], executor, history, opened[1])

    @property
    def resource_version(self) -> int:
        return self.history.last

    def changes_since(self, rv: int) -> list[Event] | None:
        """What is new for a reader who has followed up to a version; None: not all of it is known any more,
        and the reader has to look at everything."""
        try:
            return self.history.after(rv)
        except Expired:
            return None

    def put(self, transaction: Transaction, ref: Ref, obj: dict[str, Any]) -> Stored:
        """Store `obj`, which then belongs to the state; its resourceVersion is set here."""
        stored = Stored(ref, self._stamp(obj), obj)
        old = self.head.get(ref)
        self.head.put(stored)
        event = Event("MODIFIED" if old else "ADDED", stored, old, dict(old.labels) if old else {})
        transaction.events.append(event)
        return stored

    def remove(self, transaction: Transaction, ref: Ref, obj: dict[str, Any]) -> Stored:
        """Remove an object, of which `obj` is the last state."""
        stored = Stored(ref, self._stamp(obj), obj)
        old = self.head.get(ref)
        self.head.remove(ref)
        transaction.events.append(Event("DELETED", stored, old, dict(old.labels) if old else {}))
        return stored

    def _stamp(self, obj: dict[str, Any]) -> int:
        self._last_assigned += 1
        obj["metadata"] = {**obj["metadata"], "resourceVersion": str(self._last_assigned)}
        return self._last_assigned

    def undo(self, transaction: Transaction) -> None:
        """Give up changes that are not committed, before anything else is written. Their versions are
        never used."""
        for event in reversed(transaction.events):
            if event.old is None:
                self.head.remove(event.stored.ref)
            else:
                self.head.put(event.old)

    async def commit(self, transaction: Transaction) -> None:
        """Returns when the changes are on disk and visible; raises `Unavailable`, and then they are not."""
        if not transaction.events and not transaction.drafts:
            return
        if self._closed:
            raise Unavailable("the store is closed")
        transaction.done = asyncio.get_running_loop().create_future()
        self._waiting.append(transaction)
        self._wake.set()
        await transaction.done

    async def record(self, draft: Draft) -> None:
        """Have something in the audit log that changes no object. Raises `Unavailable`."""
        if self._audit is not None:
            await self.commit(Transaction(drafts=[draft]))

    async def audit_anchors(self, log: str = CHANGES) -> tuple[Head, int]:
        """The head of an audit log, and the number of the first record that it must have."""
        read = partial(self._database.audit_anchors, log)
        return await asyncio.get_running_loop().run_in_executor(self._executor, read)

    async def anchor(self, log: str, head: Head, floor: int) -> None:
        """Keep the head of a log that tells of no changes. Raises `Unavailable`."""
        await self._in_thread(partial(self._database.anchor, log, head, floor))

    async def settled(self) -> None:
        """Wait until what is on its way to disk now is there and visible, or has failed."""
        pending = [transaction.done for transaction in (*self._writing, *self._waiting) if transaction.done]
        if pending:
            await asyncio.wait(pending)

    async def _write(self) -> None:
        while not (self._closed and not self._waiting):
            await self._wake.wait()
            self._wake.clear()
            batch, self._waiting = self._waiting, []
            self._writing = batch
            if not batch:
                continue
            events = [event for transaction in batch for event in transaction.events]
            try:
                await self._in_thread(partial(self._persist, batch, events))
            except Unavailable as error:
                self._fail(batch, error)
                continue
            self._publish(batch, events)
            if len(self.history) > 2 * self._keep:
                await self._compact()

    def _persist(self, batch: list[Transaction], events: list[Event]) -> None:
        """What is done is told first: a change that cannot be audited is not made."""
        head, floor = None, 0
        drafts = [draft for transaction in batch for draft in _drafts(transaction)] if self._audit else []
        if self._audit is not None and drafts:
            try:
                head, floor = self._audit.append(drafts), self._audit.floor
            except OSError as error:
                raise Unavailable(f"the audit log cannot be written: {error}") from error
        self._database.append((_row(event) for event in events), head, floor)

    def _writer_ended(self, writer: asyncio.Task[None]) -> None:
        """Nobody may wait for a writer that is no more."""
        self._closed = True
        self._fail(self._writing, Unavailable("the store's writer has ended"))

    async def _compact(self) -> None:
        floor = self.history.forget(self._keep)
        try:
            await self._in_thread(partial(self._database.forget, floor))
        except Unavailable:
            # What is too old stays on disk for a while longer; the next compaction takes it along.
            return

    def _publish(self, batch: list[Transaction], events: list[Event]) -> None:
        for event in events:
            if event.type == "DELETED":
                self.current.remove(event.stored.ref)
            else:
                self.current.put(event.stored)
        if events:
            self.history.add(events)
        for transaction in batch:
            if transaction.done and not transaction.done.done():
                transaction.done.set_result(None)

    def _fail(self, batch: list[Transaction], error: Unavailable) -> None:
        lost, self._waiting = [*batch, *self._waiting], []
        self.head = self.current.copy()
        for transaction in lost:
            if transaction.done and not transaction.done.done():
                transaction.done.set_exception(Unavailable(error.message))

    async def _in_thread(self, work: partial[None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def snapshot(self, group: str, kind: str, namespace: str, rv: int) -> list[Stored]:
        """The objects of a kind as they were at version `rv`; raises `Expired`."""
        found = {stored.ref: stored for stored in self.current.of_kind(group, kind, namespace)}
        for event in reversed(self.history.after(rv)):
            ref = event.stored.ref
            if (ref.group, ref.kind) != (group, kind) or namespace not in ("", ref.namespace):
                continue
            if event.type == "ADDED":
                found.pop(ref, None)
            elif event.old is None:
                raise Expired(str(rv))
            else:
                found[ref] = event.old
        return [found[ref] for ref in sorted(found)]

    async def close(self) -> None:
        """Finish what is queued and release the file."""
        if self._closed:
            return
        self._closed = True
        self._wake.set()
        await self._writer
        await self._in_thread(partial(self._database.close))
        self._executor.shutdown()


def _open(path: Path, audit: AuditSettings | None) -> tuple[Database, AuditLog | None]:
    database = Database(path)
    try:
        return database, AuditLog(audit, database.audit_head()) if audit else None
    except OSError as error:
        database.close()
        raise Unavailable(f"the audit log cannot be opened: {error}") from error


_VERBS: Final = {"ADDED": "create", "MODIFIED": "update", "DELETED": "delete"}


def _drafts(transaction: Transaction) -> Iterator[Draft]:
    """What the audit log is to say of a transaction."""
    yield from transaction.drafts
    for event in transaction.events if transaction.author else ():
        ref, gone = event.stored.ref, event.type == "DELETED"
        old = event.old.obj if event.old else None
        changes = differences(old, None if gone else event.stored.obj)
        assert transaction.author is not None  # noqa: S101 (tells the type checker)
        yield Draft(transaction.author, _VERBS[event.type], Target(*ref), changes)


def _row(event: Event) -> Row:
    return Row(
        event.rv, event.type, event.stored.ref, event.stored.body, msgspec.json.encode(event.old_labels)
    )


def _load(database: Database, index: Index) -> History:
    """Fill the index; the history links each change to the state before it, where that is known."""
    latest: dict[Ref, Stored] = {}
    events: list[Event] = []
    for row in database.changes():
        obj: Object = msgspec.json.decode(row.body)
        stored = Stored(row.ref, row.rv, obj)
        events.append(Event(row.type, stored, latest.get(row.ref), msgspec.json.decode(row.old_labels)))
        latest[row.ref] = stored
        if row.type == "DELETED":
            del latest[row.ref]
    for ref, rv, body in database.objects():
        known = latest.get(ref)
        index.put(known if known and known.rv == rv else Stored(ref, rv, msgspec.json.decode(body)))
    return History(events, database.floor(), database.resource_version())
