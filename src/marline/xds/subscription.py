"""One resource type on one stream: what the proxy asked for, what it has, what it refused.

The delta protocol's rules (Envoy documentation, "xDS REST and gRPC protocol", "Incremental xDS"), as far as
they concern a single type; which type may speak when is the `Session`'s business.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from marline.compile.resource import CLUSTER, LISTENER, VIRTUAL_HOST, Blob

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
    refused: dict[str, Blob] = field(default_factory=dict)
    """What it would not take; not sent again as long as it is the same."""
    dirty: set[str] = field(default_factory=set)
    """Names that may have to be sent or removed."""
    flight: Flight | None = None
    owed: bool = False
    """It asked for all that there is and had nothing: it waits for an answer even if that is empty."""
    _again: set[str] = field(default_factory=set)
    """Asked for while a response with them was under way, which may have come too early to count."""
    _suspects: deque[tuple[str, ...]] = field(default_factory=deque)
    """Groups of names, one of which may be why a response was rejected; each is sent alone."""

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
        self.dirty = {*(view if self.wildcard else self.names), *has}

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
        self.has.pop(name, None)
        self.dirty.add(name)
        if self.flight is not None and name in self.flight.sent:
            self._again.add(name)

    def unsubscribe(self, unwanted: Collection[str]) -> list[str]:
        """Returns what stood refused and is not wanted any more."""
        if not unwanted:
            return []
        for asked in unwanted:
            if asked == WILDCARD:
                self.wildcard = False
            self.names.discard(asked)
        for name in [name for name in self.has if not self.wants(name)]:
            del self.has[name]
        settled = [name for name in self.refused if not self.wants(name)]
        for name in settled:
            del self.refused[name]
        return settled

    def changed(self, name: str, now: Blob | None) -> bool:
        """The view differs in this name. Returns whether that ends a refusal."""
        self.dirty.add(name)
        refused = self.refused.get(name)
        if refused is not None and (now is None or now.version != refused.version):
            del self.refused[name]
            return True
        return False

    def next_to_make(self, view: Mapping[str, Blob]) -> dict[str, Blob]:
        """What is to be sent next. Nothing of it is needed any more if it comes out empty."""
        todo: dict[str, Blob] = {}
        for name in sorted(self.dirty):
            blob = view.get(name)
            if blob is not None and self.wants(name) and self._lacks(name, blob):
                todo[name] = blob
            elif blob is not None or name not in self.has:
                self.dirty.discard(name)
        while self._suspects:
            group = {name: todo[name] for name in self._suspects.popleft() if name in todo}
            if group:
                return group
        return todo

    def _lacks(self, name: str, blob: Blob) -> bool:
        refused = self.refused.get(name)
        return self.has.get(name) != blob.version and (refused is None or refused.version != blob.version)

    def next_to_remove(self, view: Mapping[str, Blob]) -> tuple[str, ...]:
        """Of what it did not ask for by name an Envoy has to be told; the rest it gives up by itself."""
        gone = tuple(sorted(name for name in self.dirty if name in self.has and name not in view))
        if self.wildcard:
            return gone
        for name in gone:
            del self.has[name]
        self.dirty.difference_update(gone)
        return ()

    def fly(self, flight: Flight) -> None:
        self.flight = flight
        self.owed = False
        self.dirty.difference_update(flight.sent, flight.removed)

    def land(self, flight: Flight) -> list[str]:
        """It was acknowledged. Returns what stood refused in an older version."""
        self.flight = None
        self.has.update({name: blob.version for name, blob in flight.sent.items()})
        self._forget(flight.removed)
        settled = [name for name in flight.sent if name in self.refused]
        for name in settled:
            del self.refused[name]
        return settled

    def crash(self, flight: Flight) -> tuple[str, Blob] | None:
        """It was rejected, and a rejection is of the whole response: halves of it are sent to find out
        whose fault it was. Returns the one at fault, once there is only one left."""
        self.flight = None
        self._forget(flight.removed)  # an Envoy refuses what it is given, never what is taken away
        names = tuple(flight.sent)
        if len(names) > 1:
            middle = len(names) // 2
            self._suspects.extendleft((names[middle:], names[:middle]))
            self.dirty.update(names)
            return None
        for name, blob in flight.sent.items():
            self.refused[name] = blob
            return name, blob
        return None

    def _forget(self, removed: Iterable[str]) -> None:
        for name in removed:
            self.has.pop(name, None)
        for name in self._again:
            self.resend(name)
        self._again.clear()
