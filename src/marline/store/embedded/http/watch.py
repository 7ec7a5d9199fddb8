"""Watch streams (kubernetes.io, "API Concepts", "Efficient detection of changes").

A watch holds a position in the history. What it sends for an event is made once and shared by all
watches that ask for the same form.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from aiohttp import web

from marline.store import status
from marline.store.embedded.http import table
from marline.store.embedded.http.target import Form, Query, Selection, Target, flag, number
from marline.store.embedded.index import Object, Stored
from marline.store.embedded.state import Event, State
from marline.store.interface import BadRequest, Expired

BOOKMARK_SECONDS: Final = 60.0
_INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class Watch:
    """What one watch request asks for."""

    target: Target
    selection: Selection
    form: Form
    include: table.IncludeObject
    resource_version: int
    """Changes after this version; -1 for the present state first, as ADDED events."""
    initial_events_end: bool
    """Mark the end of the present state with a bookmark."""
    bookmarks: bool
    seconds: float


def parse(target: Target, query: Query, form: Form, include: table.IncludeObject) -> Watch:
    """Raises `BadRequest`."""
    version = number(query, "resourceVersion")
    initial, bookmarks = flag(query, "sendInitialEvents"), flag(query, "allowWatchBookmarks")
    if "sendInitialEvents" in query and query.get("resourceVersionMatch") != "NotOlderThan":
        raise BadRequest("sendInitialEvents needs resourceVersionMatch=NotOlderThan")
    present_first = initial or (not version and "sendInitialEvents" not in query)
    return Watch(
        target,
        Selection.parse(target, query),
        form,
        include,
        -1 if present_first else version,
        initial and bookmarks,
        bookmarks,
        float(number(query, "timeoutSeconds")) or random.uniform(1800, 3600),  # noqa: S311
    )


async def stream(
    request: web.Request,
    state: State,
    watch: Watch,
    clock: Callable[[], datetime],
    permitted: Callable[[], bool],
) -> web.StreamResponse:
    """Answer a watch request; returns when its time is over, when the history does not reach back, or when
    the user is not `permitted` to see it any more."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    writer = _Writer(watch, clock)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + watch.seconds
    position = watch.resource_version if watch.resource_version >= 0 else state.resource_version
    if watch.resource_version < 0:
        present = state.current.of_kind(
            watch.target.kind.group, watch.target.kind.kind, watch.target.namespace
        )
        lines = [writer.line("ADDED", stored) for stored in present if watch.selection.matches(stored.obj)]
        if watch.initial_events_end:
            lines.append(writer.bookmark(position, {_INITIAL_EVENTS_END: "true"}))
        if lines:
            await response.write(b"".join(lines))
    while (left := deadline - loop.time()) > 0 and permitted():
        try:
            events = state.history.after(position)
        except Expired as error:
            # A stream that has begun reports errors as events.
            await response.write(_event_line("ERROR", msgspec.json.encode(status.to_status(error))))
            break
        if events:
            position = events[-1].rv
            lines = list(writer.lines(events))
            if lines:
                await response.write(b"".join(lines))
            continue
        try:
            await asyncio.wait_for(state.history.grown(position), min(left, BOOKMARK_SECONDS))
        except TimeoutError:
            if watch.bookmarks:
                await response.write(writer.bookmark(position))
    await response.write_eof()
    return response


class _Writer:
    def __init__(self, watch: Watch, clock: Callable[[], datetime]) -> None:
        self._watch = watch
        self._clock = clock
        self._headers = True

    def lines(self, events: list[Event]) -> Iterator[bytes]:
        """What of these events this watch is to see. An object that begins or ceases to match the
        selection comes or goes, for this watch."""
        target = self._watch.target
        for event in events:
            ref = event.stored.ref
            if ref[:2] != (target.kind.group, target.kind.kind) or target.namespace not in (
                "",
                ref.namespace,
            ):
                continue
            now = event.type != "DELETED" and self._watch.selection.matches(event.stored.obj)
            before = event.type != "ADDED" and self._watch.selection.matches(_before(event))
            if now or before:
                kind = "DELETED" if not now else "MODIFIED" if before else "ADDED"
                yield self._shared(event, kind)

    def _shared(self, event: Event, kind: str) -> bytes:
        if self._watch.form == "table":
            return self.line(kind, event.stored)
        key = (kind, self._watch.form, self._watch.target.served.api_version)
        if key not in event.lines:
            event.lines[key] = self.line(kind, event.stored)
        return event.lines[key]

    def line(self, kind: str, stored: Stored) -> bytes:
        served = self._watch.target.served
        if self._watch.form == "table":
            row = table.row(served, stored.obj, self._clock(), self._watch.include)
            obj = table.table(served.kind, [row], {"resourceVersion": str(stored.rv)}, headers=self._headers)
            self._headers = False
            return _event_line(kind, msgspec.json.encode(obj))
        if self._watch.form == "partial":
            return _event_line(kind, msgspec.json.encode(table.partial(stored.obj)))
        if served.api_version == served.kind.api_version:
            return _event_line(kind, stored.body)
        return _event_line(kind, msgspec.json.encode(served.shown(stored.obj)))

    def bookmark(self, rv: int, annotations: dict[str, str] | None = None) -> bytes:
        served = self._watch.target.served
        metadata: dict[str, Any] = {"resourceVersion": str(rv), "creationTimestamp": None}
        metadata |= {"annotations": annotations} if annotations else {}
        obj: dict[str, Any] = {
            "kind": served.kind.kind,
            "apiVersion": served.api_version,
            "metadata": metadata,
        }
        if self._watch.form == "table":
            rows = [{"cells": [], "object": obj}]
            obj = table.table(served.kind, rows, {"resourceVersion": str(rv)}, headers=self._headers)
            self._headers = False
        return _event_line("BOOKMARK", msgspec.json.encode(obj))


def _before(event: Event) -> Object:
    """The object before a change; what may be selected by, beside labels, hardly ever changes."""
    if event.old is not None:
        return event.old.obj
    return {**event.stored.obj, "metadata": {**event.stored.metadata, "labels": event.old_labels}}


def _event_line(kind: str, body: bytes) -> bytes:
    return b'{"type":"' + kind.encode() + b'","object":' + body + b"}\n"
