"""One resource type on one stream: what the proxy asked for, what it has, what it refused.

The delta protocol's rules (Envoy documentation, "xDS REST and gRPC protocol", "Incremental xDS"), as far as
they concern a single type; which type may speak when is the `Session`'s business.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from marline.compile.resource import CLUSTER, ENDPOINT, LISTENER, VIRTUAL_HOST, Blob
from marline.xds.refusals import Refusals

WILDCARD: Final = "*"
_WILDCARD_TYPES: Final = (CLUSTER, LISTENER, VIRTUAL_HOST)
"""Types of which an Envoy wants all, and says so by naming none in its first request."""


@dataclass(frozen=True, slots=True)
class Flight:
    """A response that is not acknowledged yet."""

    nonce: str
    sent: Mapping[str, Blob]
    removed: tuple[str, ...]


@dataclass(slots=True)
class Subscription:
    """Names stand for resources throughout."""

    type_url: str
    started: bool = False
    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    has: dict[str, str] = field(default_factory=dict)
    """What the proxy has: name → version."""
    refusals: Refusals = field(init=False)
    dirty: set[str] = field(default_factory=set)
    """Names that may have to be sent or removed."""
    flight: Flight | None = None
    owed: bool = False
    """It asked for all that there is and had nothing: it waits for an answer even if that is empty."""
    _again: set[str] = field(default_factory=set)
    """Asked for while a response with them was under way, which may have come too early to count."""
    _unsure: set[str] = field(default_factory=set)
    """The proxy may have something else than `has` says: it asked for them again, or they were in a
    response that was rejected as a whole, of which Envoy nevertheless takes what it can."""

    def __post_init__(self) -> None:
        self.refusals = Refusals(tried_again=self.type_url == VIRTUAL_HOST)

    def wants(self, name: str) -> bool:
        return self.wildcard or name in self.names

    def begin(self, wanted: Iterable[str], has: Mapping[str, str], view: Mapping[str, Blob]) -> None:
        """The first request: what the proxy has in the right version is not sent again."""
        self.started = True
        names = set(wanted)
        self.wildcard = WILDCARD in names or (not names and self.type_url in _WILDCARD_TYPES)
        self.names = names - {WILDCARD}
        self.has = dict(has)
        self.owed = self.wildcard and not has
        self.dirty = {*(view if self.wildcard else ()), *self.names, *has}
        self._unsure = (self._unsure & self.dirty) | (self.names - has.keys())

    def subscribe(self, wanted: Iterable[str], view: Mapping[str, Blob]) -> None:
        """A resource that is asked for again must be sent again, whatever the proxy has."""
        for name in wanted:
            if name == WILDCARD:
                self.wildcard = True
                self.dirty |= view.keys()
            else:
                self.names.add(name)
                self.resend(name)

    def resend(self, name: str) -> None:
        self._unsure.add(name)
        self.dirty.add(name)
        if self.flight is not None and (name in self.flight.sent or name in self.flight.removed):
            self._again.add(name)

    def unsubscribe(self, unwanted: Collection[str]) -> list[str]:
        """Returns what stood refused and is not wanted any more."""
        for asked in unwanted:
            if asked in self.names and self.wildcard:
                # It does not know whether this is one of all, and is to be told.
                self.resend(asked)
            self.names.discard(asked)
        if WILDCARD in unwanted:
            self.wildcard = False
            unwanted = {*self.has, *self._unsure, *self.refusals.refused}
        given_up = [name for name in unwanted if not self.wants(name)]
        self._forget(given_up)
        return self.refusals.end(given_up)

    def changed(self, name: str, now: Blob | None) -> bool:
        """The view differs in this name. Returns whether that ends a refusal."""
        if not self.started:
            return False
        self.dirty.add(name)
        return self.refusals.changed(name, now)

    def next_to_make(self, view: Mapping[str, Blob]) -> dict[str, Blob]:
        """What is to be sent next; nothing, if the proxy has all that it wants and would take."""
        todo: dict[str, Blob] = {}
        gone: set[str] = set()
        for name in sorted(self.dirty):
            blob = view.get(name)
            if blob is not None and self._should_get(name, blob):
                todo[name] = blob
            elif blob is None and self._may_have(name):
                gone.add(name)
        # A new set, since one that was large once takes long to look through even when it is empty.
        self.dirty = gone | todo.keys()
        again = () if todo else self.refusals.try_again()
        if again:
            self.dirty.update(again)
            return self.next_to_make(view)
        return self.refusals.next_group(todo)

    def _should_get(self, name: str, blob: Blob) -> bool:
        return self.wants(name) and self.lacks(name, blob) and not self.refusals.refuses(name, blob)

    def count(self, view: Mapping[str, Blob]) -> tuple[int, int]:
        """How many the proxy wants of a view, and how many of those it has: what it may lack is known, so
        the rest is not looked at."""
        wanted = len(view) if self.wildcard else len(view.keys() & self.names)
        under_way = self.flight.sent if self.flight is not None else ()
        maybe = {*self.dirty, *under_way, *self.refusals.refused}
        lacking = [
            name for name in maybe if name in view and self.wants(name) and self.lacks(name, view[name])
        ]
        return wanted, wanted - len(lacking)

    def lacks(self, name: str, blob: Blob) -> bool:
        """Has the proxy something else, which may be nothing?"""
        return self.has.get(name) != blob.version or name in self._unsure

    def _may_have(self, name: str) -> bool:
        return name in self.has or name in self._unsure

    def keeps_old(self) -> bool:
        """Does the proxy go on with an older version of something whose newest it refused?"""
        return any(name in self.has for name in self.refusals.refused)

    def next_to_remove(self, view: Mapping[str, Blob]) -> tuple[str, ...]:
        """What the proxy is to be told is not there. What it asked for by name it gives up by itself, but
        a cluster does not get warm before it hears that there are no endpoints."""
        gone = sorted(name for name in self.dirty if self._may_have(name) and name not in view)
        if self.wildcard:
            return tuple(gone)
        is_endpoints = self.type_url == ENDPOINT
        told = [name for name in gone if is_endpoints and name in self._unsure and name in self.names]
        for name in set(gone).difference(told):
            self._forget((name,))
            self.dirty.discard(name)
        return tuple(told)

    def fly(self, flight: Flight) -> None:
        self.flight = flight
        self.owed = False
        self.dirty.difference_update(flight.sent, flight.removed)

    def land(self, flight: Flight) -> list[str]:
        """It was acknowledged. Returns what stood refused in an older version."""
        self.flight = None
        self.has.update({name: blob.version for name, blob in flight.sent.items() if self.wants(name)})
        self._unsure.difference_update(flight.sent)
        self._forget(flight.removed)
        self._send_again()
        return self.refusals.end(flight.sent)

    def crash(self, flight: Flight, view: Mapping[str, Blob]) -> tuple[str, Blob] | None:
        """It was rejected, and a rejection is of the whole response: halves of it are sent to find out
        whose fault it was. Returns the one at fault, once there is only one left, and still wanted."""
        self.flight = None
        names = tuple(flight.sent)
        if names:
            self.dirty.update(flight.removed)
        else:
            self._forget(flight.removed)  # it is as gone as it can be
        self._send_again()
        if len(names) > 1:
            self.refusals.search(names)
            self.dirty.update(names)
            self._unsure.update(names)
            return None
        for name, blob in flight.sent.items():
            now = view.get(name)
            if now is not None and now.version == blob.version and self.wants(name):
                self.refusals.blame(name, blob, came_with_others=name in self._unsure)
                return name, blob
        return None

    def _forget(self, removed: Iterable[str]) -> None:
        for name in removed:
            self.has.pop(name, None)
            self._unsure.discard(name)

    def _send_again(self) -> None:
        for name in self._again:
            self.resend(name)
        self._again.clear()
