"""Envoy's fractions and durations as numbers."""

from typing import Any, Final

_DENOMINATORS: Final = (100, 10_000, 1_000_000)


def share_of(fraction: Any) -> float:
    """A `FractionalPercent` as a share from 0 to 1."""
    return float(min(1.0, fraction.numerator / _DENOMINATORS[fraction.denominator]))


def seconds(duration: Any) -> float:
    return float(duration.seconds) + float(duration.nanos) / 1e9
