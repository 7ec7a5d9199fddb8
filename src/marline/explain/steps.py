"""The answer: steps, each with what decides it, and the ends that a request may come to."""

from collections.abc import Iterator
from enum import Enum

import msgspec

from marline.explain.origin import Place


class Said(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A value that has a JSON form."""


class Detail(Said, frozen=True):
    """More about a step."""

    text: str
    place: Place | None = None


class Step(Said, frozen=True):
    """One thing that is decided about the request."""

    topic: str
    text: str
    place: Place | None = None
    """What decides it; None: what holds without any resource."""
    details: tuple[Detail, ...] = ()


def percent(share: float) -> str:
    """A share from 0 to 1 as people say it: `90 %`."""
    return f"{share * 100:.4g} %"


class Fate(Enum):
    """What becomes of a request."""

    ANSWERED = "answered"
    """By the application, by what is outside the mesh, or by a rule that answers in its place."""
    REFUSED = "refused"
    """A proxy refuses it, or cannot deliver it."""
    UNKNOWN = "unknown"
    """It depends on something that cannot be evaluated."""


class Ending(Said, frozen=True):
    """One of the ends that the request may come to."""

    fate: Fate
    text: str
    share: float = 1.0
    """Of all such requests, from 0 to 1."""
    status: int = 0
    """The HTTP status that a proxy answers; 0: the application's own."""
    cluster: str = ""
    workloads: tuple[str, ...] = ()
    """Who may answer, as `namespace/name`."""
    path: str = ""
    """As the application sees it."""
    authority: str = ""
    location: str = ""


class Explanation(Said, frozen=True):
    """What would happen to one request, and why."""

    source: str
    request: str
    steps: tuple[Step, ...] = ()
    endings: tuple[Ending, ...] = ()
    doubts: tuple[str, ...] = ()
    """What was not evaluated, and may change the answer."""

    def places(self) -> Iterator[Place]:
        """All that decide something."""
        for step in self.steps:
            found = (step.place, *(detail.place for detail in step.details))
            yield from (place for place in found if place is not None)

    @property
    def fate(self) -> Fate:
        """The worst of the ends that are possible; doubts about an answer make it unknown."""
        fates = {item.fate for item in self.endings if item.share > 0}
        if Fate.REFUSED in fates:
            return Fate.REFUSED
        return Fate.UNKNOWN if self.doubts or Fate.UNKNOWN in fates or not fates else Fate.ANSWERED
