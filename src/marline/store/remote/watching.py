"""Following resources on a server: list, watch, and back to where one was after a break.

What is known of each object is its resourceVersion, so that after a new list only what really differs is
passed on, and what is gone is noticed (kubernetes.io, "API Concepts", "Efficient detection of changes").
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from marline.api.decode import decode
from marline.api.errors import InvalidResource
from marline.api.registry import Kind
from marline.api.resource import Ref, Resource
from marline.mesh.model import ChangeSet
from marline.store.interface import BadRequest, Expired, Forbidden, NotFound, Refused, StoreError, Unavailable
from marline.store.remote.paths import collection_path
from marline.store.remote.transport import Transport
from marline.store.status import from_status

_PAGE: Final = "500"
_SILENCE: Final = 150.0
"""Seconds: servers send a bookmark every minute or so; after two missed ones the connection is dead."""
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 15.0
_NOT_SERVED_PAUSE: Final = 30.0

_log = logging.getLogger(__name__)

Object = dict[str, Any]


@dataclass(slots=True)
class Backoff:
    """Pauses between attempts: doubling, each between half and the whole of itself."""

    pause: float = _FIRST_PAUSE

    def next(self) -> float:
        pause, self.pause = self.pause, min(self.pause * 2, _LONGEST_PAUSE)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311

    def reset(self) -> None:
        self.pause = _FIRST_PAUSE


async def list_all(
    transport: Transport, kind: Kind, namespace: str, label_selector: str = ""
) -> tuple[list[Object], str]:
    """All pages of a list, as of one version, and that version."""
    path = collection_path(kind, namespace)
    selector = {"labelSelector": label_selector} if label_selector else {}
    token, version = "", ""
    items: list[Object] = []
    while True:
        page = {"limit": _PAGE, **({"continue": token} if token else {})}
        try:
            body = (await transport.request("GET", path, params=page | selector)).json()
        except Expired:
            # The list took longer than the server remembers: once more, in one piece.
            body = (await transport.request("GET", path, params=selector)).json()
            items = []
        for item in body.get("items") or ():
            items.append({"apiVersion": kind.api_version, "kind": kind.kind, **item})
        version = str(body["metadata"]["resourceVersion"])
        token = str(body["metadata"].get("continue") or "")
        if not token:
            return items, version


@dataclass(slots=True)
class Follower:
    """One kind, followed for ever."""

    transport: Transport
    kind: Kind
    known: dict[Ref, str] = field(default_factory=dict)
    version: str = ""
    backoff: Backoff = field(default_factory=Backoff)

    async def changes(self) -> AsyncIterator[ChangeSet]:
        """First the full state, then every change. Raises `Forbidden` and other refusals that do not
        pass by waiting."""
        first = True
        while True:
            try:
                if not self.version:
                    change = await self._relist()
                    if first or change.changed or change.removed:
                        yield change
                    first = False
                async for change in self._watch():
                    yield change
            except Expired:
                self.version = ""
            except NotFound:
                if first:
                    yield ChangeSet()
                    first = False
                await asyncio.sleep(_NOT_SERVED_PAUSE)
            except (Forbidden, BadRequest):
                raise
            except (Unavailable, Refused) as error:
                if isinstance(error, Refused) and error.code < 500:
                    if error.code != 404:
                        raise
                    if first:
                        yield ChangeSet()
                        first = False
                _log.debug("watch of %s broke: %s", self.kind.plural, error)
                await asyncio.sleep(self.backoff.next())

    async def _relist(self) -> ChangeSet:
        items, version = await list_all(self.transport, self.kind, "")
        found = {_ref(self.kind, item): item for item in items}
        changed = [item for ref, item in found.items() if self.known.get(ref) != _version(item)]
        removed = tuple(sorted(self.known.keys() - found.keys()))
        self.known = {ref: _version(item) for ref, item in found.items()}
        self.version = version
        return ChangeSet(typed(changed), removed, version)

    async def _watch(self) -> AsyncIterator[ChangeSet]:
        """Until the server ends the stream, which it does now and then."""
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self.version,
            "timeoutSeconds": str(random.randint(240, 480)),  # noqa: S311
        }
        path = collection_path(self.kind, "")
        async for line in self.transport.lines(path, params, silence=_SILENCE):
            try:
                event = msgspec.json.decode(line)
            except msgspec.DecodeError as error:
                raise Unavailable(f"a watch event is not JSON: {error}") from error
            self.backoff.reset()
            change = self._event(event["type"], event["object"])
            if change:
                yield change

    def _event(self, kind: str, item: Object) -> ChangeSet | None:
        if kind == "ERROR":
            error = from_status(item, int(item.get("code") or 500))
            raise error if isinstance(error, StoreError) else Unavailable(str(error))
        version = _version(item)
        self.version = version
        if kind == "BOOKMARK":
            return None
        ref = _ref(self.kind, item)
        if kind == "DELETED":
            return ChangeSet((), (ref,), version) if self.known.pop(ref, None) else None
        if self.known.get(ref) == version:
            return None
        self.known[ref] = version
        return ChangeSet(typed([item]), (), version)


async def follow(transport: Transport, kinds: tuple[Kind, ...]) -> AsyncIterator[ChangeSet]:
    """Several kinds at once: the full state of all of them as one `ChangeSet`, then every change."""
    # A bounded queue: a slow reader slows the connections down, and the server holds no queue for it.
    queue: asyncio.Queue[tuple[int, ChangeSet | StoreError]] = asyncio.Queue(64)
    tasks = [
        asyncio.create_task(_feed(number, Follower(transport, kind), queue), name=f"watch-{kind.plural}")
        for number, kind in enumerate(kinds)
    ]
    try:
        pending, early = set(range(len(kinds))), []
        version = ""
        while pending:
            number, change = await queue.get()
            if isinstance(change, StoreError):
                raise change
            pending.discard(number)
            early.append(change)
            version = change.resource_version or version
        yield _combined(early, version)
        while True:
            _, change = await queue.get()
            if isinstance(change, StoreError):
                raise change
            yield change
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _feed(number: int, follower: Follower, queue: asyncio.Queue[Any]) -> None:
    try:
        async for change in follower.changes():
            await queue.put((number, change))
    except StoreError as error:
        await queue.put((number, error))


def _combined(changes: list[ChangeSet], version: str) -> ChangeSet:
    """Several changes as one; of an object, the last counts."""
    present: dict[Ref, Resource[Any]] = {}
    for change in changes:
        present |= {resource.ref: resource for resource in change.changed}
        for ref in change.removed:
            present.pop(ref, None)
    return ChangeSet(tuple(present.values()), (), version)


def typed(items: list[Object]) -> tuple[Resource[Any], ...]:
    """Objects that do not fit the models (made by a newer version of an API) are left out, loudly."""
    result = []
    for item in items:
        try:
            result.append(decode(item))
        except InvalidResource as error:
            _log.error("an object is left out: %s", error)
    return tuple(result)


def _version(item: Mapping[str, Any]) -> str:
    return str(item["metadata"]["resourceVersion"])


def _ref(kind: Kind, item: Mapping[str, Any]) -> Ref:
    metadata = item["metadata"]
    return Ref(kind.group, kind.kind, str(metadata.get("namespace") or ""), str(metadata["name"]))
