"""How often somebody may ask: token buckets, one for each name. Pure, told the time."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

_NAMES: Final = 10_000
"""So many are remembered; who is forgotten begins anew, with a full bucket."""


@dataclass(slots=True)
class Pace:
    """`rate` a second in the long run, `burst` at a time."""

    rate: float
    burst: float
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)
    """What is left, and when that was; who asked last is last."""

    def take(self, name: str, now: float) -> float:
        """0 if this name may ask now, which is then counted; else after how many seconds it may."""
        left, since = self._buckets.pop(name, (self.burst, now))
        left = min(self.burst, left + max(0.0, now - since) * self.rate)
        allowed = left >= 1
        self._buckets[name] = (left - 1 if allowed else left, now)
        if len(self._buckets) > _NAMES:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self.rate
