"""Counters in the memory of this process: for one machine, and forgotten when the process ends."""

from collections import OrderedDict
from dataclasses import dataclass, field

from marline.ratelimit.windows import Count, Question


@dataclass(slots=True)
class MemoryCounters:
    """At most `capacity` counts. When there are more, those are forgotten that were not asked for longest:
    theirs begin anew, so that strangers who make up values cannot exhaust memory."""

    capacity: int = 200_000
    forgotten: int = 0
    """So many counts were given up before their window had ended."""
    _counts: OrderedDict[tuple[str, int], tuple[Count, int]] = field(default_factory=OrderedDict)

    async def add(self, questions: list[Question], now: float) -> list[int]:
        """As `Counters.add`; never unavailable."""
        return [self._add(item, now) for item in questions]

    def _add(self, asked: Question, now: float) -> int:
        key = (asked.count.key, asked.count.seconds)
        known, total = self._counts.get(key, (asked.count, 0))
        total = asked.hits + (total if known.window == asked.count.window else 0)
        self._counts[key] = (asked.count, total)
        self._counts.move_to_end(key)
        while len(self._counts) > self.capacity:
            _, (oldest, _) = self._counts.popitem(last=False)
            self.forgotten += oldest.window + oldest.seconds > now
        return total
