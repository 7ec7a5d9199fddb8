"""The statistics of proxies as counts by series: since they were started, and between two readings."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from marline.telemetry.histogram import Histogram, total
from marline.telemetry.prometheus import Metrics, labels
from marline.telemetry.reading import PREFIX, Reading

REQUESTS: Final = f"{PREFIX}requests_total"
DURATION: Final = f"{PREFIX}request_duration_milliseconds"
CONNECTIONS: Final = f"{PREFIX}tcp_connections_closed_total"
RECEIVED: Final = f"{PREFIX}tcp_received_bytes_total"
SENT: Final = f"{PREFIX}tcp_sent_bytes_total"
_COUNTERS: Final = (REQUESTS, CONNECTIONS, RECEIVED, SENT)
_FIRST_SERVER_ERROR: Final = 500
_UNKNOWN: Final = ("", "-", "unknown")


@dataclass(frozen=True, slots=True)
class Tags:
    """What a series says of its requests: the labels that `compile.telemetry` gives it; "": not known."""

    from_source: bool
    """Reported by the client's proxy; otherwise by the server's."""
    source_workload: str
    source_principal: str
    destination_service: str
    destination_workload: str
    destination_principal: str
    response_code: int
    response_flags: str
    mutual_tls: bool
    """As the server's proxy says; the client's does not say it."""
    tcp: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """What happened in some time."""

    requests: float = 0.0
    successes: float = 0.0
    """Requests not answered with 5xx: what Istio's dashboards call success."""
    latency: Histogram = field(default_factory=Histogram)
    """Milliseconds."""
    connections: float = 0.0
    """TCP connections that have ended."""
    received: float = 0.0
    """Bytes that the service was sent in them."""
    sent: float = 0.0

    @property
    def success_rate(self) -> float | None:
        """Between 0 and 1; None without requests."""
        return self.successes / self.requests if self.requests else None

    @classmethod
    def sum(cls, items: "list[Counts]") -> Self:
        return cls(
            sum(item.requests for item in items),
            sum(item.successes for item in items),
            total(item.latency for item in items),
            sum(item.connections for item in items),
            sum(item.received for item in items),
            sum(item.sent for item in items),
        )


@dataclass(frozen=True, slots=True)
class Counted:
    """One series of one proxy."""

    tags: Tags
    all: Counts
    """Since the proxy was started."""
    recent: Counts | None
    """Between two readings; None without an earlier one."""


def counted(after: Reading, before: Reading | None) -> Iterator[Counted]:
    """Every series of every proxy. A proxy that could not be read before has no recent counts: what it
    counted in which time is not known. One that did not exist before has counted everything since."""
    for key, metrics in after.proxies.items():
        known = None if before is None or key in before.unreadable else before.proxies.get(key, Metrics())
        for series in _series(metrics):
            tags = _tags(series)
            recent = _counts(metrics, series, tags, known) if known is not None else None
            yield Counted(tags, _counts(metrics, series, tags, Metrics()), recent)


def _series(metrics: Metrics) -> set[str]:
    named = (metrics.values.get(name, {}) for name in _COUNTERS)
    return {series for found in named for series in found}


def _counts(metrics: Metrics, series: str, tags: Tags, before: Metrics) -> Counts:
    requests = _increase(metrics, before, REQUESTS, series)
    latency = metrics.histograms.get(DURATION, {}).get(series, Histogram())
    earlier = before.histograms.get(DURATION, {}).get(series, Histogram())
    return Counts(
        requests,
        requests if tags.response_code < _FIRST_SERVER_ERROR else 0.0,
        latency.since(earlier),
        _increase(metrics, before, CONNECTIONS, series),
        _increase(metrics, before, RECEIVED, series),
        _increase(metrics, before, SENT, series),
    )


def _increase(after: Metrics, before: Metrics, name: str, series: str) -> float:
    """A counter that has shrunk began anew at zero (as Prometheus' `increase` takes it)."""
    new = after.values.get(name, {}).get(series, 0.0)
    old = before.values.get(name, {}).get(series, 0.0)
    return new - old if new >= old else new


def _tags(series: str) -> Tags:
    found: Mapping[str, str] = labels(series)

    def known(name: str) -> str:
        value = found.get(name, "")
        return "" if value in _UNKNOWN else value

    code = found.get("response_code", "")
    return Tags(
        from_source=found.get("reporter") == "source",
        source_workload=known("source_workload"),
        source_principal=known("source_principal"),
        destination_service=known("destination_service"),
        destination_workload=known("destination_workload"),
        destination_principal=known("destination_principal"),
        response_code=int(code) if code.isdigit() else 0,
        response_flags=known("response_flags"),
        mutual_tls=found.get("connection_security_policy") == "mutual_tls",
        tcp=found.get("request_protocol") == "tcp",
    )
