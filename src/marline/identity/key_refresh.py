"""When key sets are fetched: a state machine of all sources that are wanted, without clock, chance or I/O.

A source is fetched when it is first wanted, and again and again as Istio does; after a failure sooner, after
a while that doubles. The last good key set stays in use meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from marline.mesh.token_keys import KeySource

REFRESH_SECONDS: Final = 20 * 60.0
"""As Istio's `PILOT_JWT_PUB_KEY_REFRESH_INTERVAL`."""
JITTER: Final = 0.1
"""How much earlier, at most, as part of the time: what is wanted together is not fetched together."""
FIRST_RETRY_SECONDS: Final = 1.0
MAX_RETRY_SECONDS: Final = 60.0


@dataclass(slots=True)
class Known:
    """What is known of a source."""

    document: str = ""
    """The last good key set; "": none yet."""
    fault: str = ""
    """Why the last attempt failed; "" if it did not."""
    failures: int = 0
    due: float | None = 0.0
    """When it is to be fetched; None while it is."""

    @property
    def is_pending(self) -> bool:
        """Was it never answered for?"""
        return not (self.document or self.fault)


@dataclass(slots=True)
class KeyRefresh:
    """Methods take the time in seconds of any clock that does not go back."""

    random: Callable[[], float]
    """Uniform in [0, 1)."""
    refresh_seconds: float = REFRESH_SECONDS
    known: dict[KeySource, Known] = field(default_factory=dict)

    def want(self, source: KeySource, document: str = "") -> None:
        """A source is wanted; `document` is what it had before, maybe long ago."""
        self.known.setdefault(source, Known(document))

    def forget(self, source: KeySource) -> None:
        """Nobody wants it any more."""
        self.known.pop(source, None)

    def due(self, now: float) -> list[KeySource]:
        """What is to be fetched now; each is to be told of by `fetched` or `failed`."""
        found = [source for source, known in self.known.items() if known.due is not None and known.due <= now]
        for source in found:
            self.known[source].due = None
        return found

    @property
    def wake_at(self) -> float | None:
        """When something is due; None: not before something is wanted or told."""
        return min((known.due for known in self.known.values() if known.due is not None), default=None)

    def fetched(self, source: KeySource, now: float, document: str) -> bool:
        """Returns whether the key set is another than before."""
        known = self.known.get(source)
        if known is None:
            return False
        differs = known.document != document
        known.document, known.fault, known.failures = document, "", 0
        known.due = now + self.refresh_seconds * (1 - JITTER * self.random())
        return differs

    def failed(self, source: KeySource, now: float, fault: str) -> bool:
        """Returns whether the fault is another than before."""
        known = self.known.get(source)
        if known is None:
            return False
        differs = known.fault != fault
        delay = min(FIRST_RETRY_SECONDS * 2.0 ** min(known.failures, 16), MAX_RETRY_SECONDS)
        known.fault = fault
        known.failures += 1
        known.due = now + delay * (0.5 + 0.5 * self.random())
        return differs
