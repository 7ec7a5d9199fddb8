"""Statistics as Envoy's admin interface writes them, for one proxy."""

from collections.abc import Iterable, Mapping

BOUNDS = ("0.5", "1", "5", "10", "25", "50", "100", "250", "500", "1000", "3600000", "+Inf")


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def series(**labels: str) -> str:
    return ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items())


def principal(account: str, namespace: str = "default") -> str:
    return f"spiffe://cluster.local/ns/{namespace}/sa/{account}" if account else "-"


def call(
    reporter: str,
    source: str = "",
    account: str = "productpage",
    service: str = "reviews.default.svc.cluster.local",
    server: str = "reviews-v1-abcde",
    server_account: str = "reviews",
    code: str = "200",
    flags: str = "-",
    security: str = "unknown",
    protocol: str = "HTTP/1.1",
) -> str:
    """The labels of one kind of call. An empty account: that end has shown no certificate."""
    return series(
        reporter=reporter,
        source_workload=source or "unknown",
        source_principal=principal(account),
        destination_service=service,
        destination_workload=server or "-",
        destination_principal=principal(server_account),
        response_code=code,
        response_flags=flags,
        connection_security_policy=security,
        request_protocol=protocol,
    )


def requests(counts: Mapping[str, int]) -> str:
    lines = [f"envoy_istio_requests_total{{{labels}}} {count}" for labels, count in counts.items()]
    return "\n".join(["# TYPE envoy_istio_requests_total counter", *lines]) + "\n"


def durations(labels: str, cumulative: Iterable[int]) -> str:
    name = "envoy_istio_request_duration_milliseconds"
    counts = list(cumulative)
    lines = [
        f'{name}_bucket{{{labels},le="{bound}"}} {count}' for bound, count in zip(BOUNDS, counts, strict=True)
    ]
    lines += [f"{name}_sum{{{labels}}} 12.5", f"{name}_count{{{labels}}} {counts[-1]}"]
    return "\n".join([f"# TYPE {name} histogram", *lines]) + "\n"
