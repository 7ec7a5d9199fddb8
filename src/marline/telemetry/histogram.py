"""Histograms with cumulative buckets, as Prometheus has them: added, subtracted, and asked for quantiles."""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many observations were at most as large as each bound; bounds ascend, the last is infinite."""

    buckets: tuple[tuple[float, float], ...] = ()

    @property
    def count(self) -> float:
        """All observations."""
        return self.buckets[-1][1] if self.buckets else 0.0

    def since(self, before: "Histogram") -> "Histogram":
        """What was observed after `before`. A histogram that has shrunk began anew in between."""
        known = dict(before.buckets)
        left = tuple((bound, count - known.get(bound, 0.0)) for bound, count in self.buckets)
        return Histogram(left) if all(count >= 0 for _, count in left) else self

    def quantile(self, share: float) -> float | None:
        """The value that `share` (0 to 1) of the observations do not exceed; None without observations.

        Interpolated linearly within a bucket, and never beyond the largest finite bound, as Prometheus'
        `histogram_quantile` does.
        """
        if not self.count:
            return None
        rank = share * self.count
        lower, below = 0.0, 0.0
        for bound, count in self.buckets:
            if count > below and count >= rank:
                if math.isinf(bound):
                    return lower
                return lower + (bound - lower) * (max(rank - below, 0.0) / (count - below))
            if not math.isinf(bound):
                lower = bound
            below = max(below, count)
        return lower


def total(histograms: Iterable[Histogram]) -> Histogram:
    """All observations of several histograms; of bounds only those that every one of them has."""
    filled = [item for item in histograms if item.buckets]
    if not filled:
        return Histogram()
    shared = set.intersection(*({bound for bound, _ in item.buckets} for item in filled))
    sums = dict.fromkeys(sorted(shared), 0.0)
    for item in filled:
        for bound, count in item.buckets:
            if bound in sums:
                sums[bound] += count
    return Histogram(tuple(sums.items()))
