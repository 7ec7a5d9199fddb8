"""Prometheus' text format, as Envoy's admin interface writes it, as numbers by series.

A proxy's text is thousands of lines of which most repeat the labels of the line before, so a series is
named by the text of its labels; `labels` reads such a text, once for each series that somebody asks for.
Source: prometheus.io, "Exposition formats", and Envoy's "/stats?format=prometheus".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from marline.telemetry.histogram import Histogram

_BUCKET: Final = "_bucket"
_BOUND: Final = 'le="'
_ESCAPES: Final = {"n": "\n", '"': '"', "\\": "\\"}


@dataclass(eq=False)
class MalformedMetrics(Exception):
    """A text is not in Prometheus' format."""

    line: int
    text: str
    message: str

    def __str__(self) -> str:
        where = f"line {self.line} of the metrics" if self.line else "a metric's labels"
        return f"{where}: {self.message}: {self.text[:200]!r}"


@dataclass(frozen=True, slots=True)
class Metrics:
    """What one text says: metric → labels as text → value."""

    values: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Counters and gauges; also `<histogram>_sum` and `<histogram>_count`."""
    histograms: Mapping[str, Mapping[str, Histogram]] = field(default_factory=dict)


def parse(text: str, prefix: str = "") -> Metrics:
    """All metrics whose names begin with `prefix`. Raises `MalformedMetrics`."""
    values: dict[str, dict[str, float]] = {}
    buckets: dict[str, dict[str, dict[float, float]]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line[0] == "#" or not line.startswith(prefix):
            continue
        name, brace, rest = line.partition("{")
        if brace:
            series, closed, value = rest.rpartition("} ")
        else:
            name, closed, value = line.partition(" ")
            series = ""
        try:
            amount = float(value.split(" ", 1)[0])
        except ValueError:
            closed = ""
        if not closed:
            raise MalformedMetrics(number, line, "expected NAME{LABELS} VALUE")
        if not name.endswith(_BUCKET):
            values.setdefault(name, {})[series] = amount
            continue
        series, bound = _without_bound(series, number)
        metric = buckets.setdefault(name.removesuffix(_BUCKET), {})
        metric.setdefault(series, {})[bound] = amount
    histograms = {
        name: {series: Histogram(tuple(sorted(found.items()))) for series, found in metric.items()}
        for name, metric in buckets.items()
    }
    return Metrics(values, histograms)


def _without_bound(series: str, number: int) -> tuple[str, float]:
    """The labels of a bucket, and its upper bound; `le` is the last of them, as Envoy writes it."""
    before, found, bound = series.rpartition(_BOUND)
    try:
        if not found or (before and before[-1] != ","):
            raise ValueError
        return before[:-1], float(bound.rstrip('"'))
    except ValueError:
        raise MalformedMetrics(number, series, 'expected le="BOUND" as the last label') from None


def labels(series: str) -> dict[str, str]:
    """The labels of a series. Raises `MalformedMetrics`."""
    if not series:
        return {}
    if "\\" in series:
        return _escaped_labels(series)
    # Without escapes every quotation mark opens or closes a value: name=, value, ,name=, value, rest.
    parts = series.split('"')
    names, values, rest = parts[:-1:2], parts[1::2], parts[-1]
    if rest not in ("", ",") or len(names) != len(values) or not _are_names(names):
        raise MalformedMetrics(0, series, 'expected NAME="VALUE",…')
    return {name[:-1].lstrip(","): value for name, value in zip(names, values, strict=True)}


def _are_names(names: list[str]) -> bool:
    """Each ends with `=`, and each but the first begins with a comma."""
    first, *others = names or [""]
    return first.endswith("=") and all(name.startswith(",") and name.endswith("=") for name in others)


def _escaped_labels(series: str) -> dict[str, str]:
    """The same, a character at a time, for the rare series with a backslash in it."""
    found = {}
    position = 0
    while position < len(series):
        start = series.find('="', position)
        if start < 0:
            raise MalformedMetrics(0, series, 'expected NAME="VALUE",…')
        name, value, position = series[position:start], [], start + 2
        while (char := series[position : position + 1]) != '"':
            if not char:
                raise MalformedMetrics(0, series, "a value has no end")
            if char == "\\":
                position += 1
                escaped = series[position : position + 1]
                char = _ESCAPES.get(escaped, "\\" + escaped)
            value.append(char)
            position += 1
        found[name] = "".join(value)
        position += 1
        if series[position : position + 1] not in ("", ","):
            raise MalformedMetrics(0, series, "expected a comma between labels")
        position += 1
    return found
