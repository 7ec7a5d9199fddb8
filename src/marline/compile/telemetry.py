"""Metrics and error logs of every connection manager and TCP proxy.

Istio's standard metrics (istio.io, "Istio Standard Metrics") come from Envoy's stats access logger:
`envoy_istio_requests_total` and `envoy_istio_request_duration_milliseconds` for HTTP, and for other
connections `envoy_istio_tcp_connections_closed_total` and the bytes sent and received.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from envoy.extensions.access_loggers.stats.v3 import stats_pb2
from envoy.extensions.access_loggers.stream.v3 import stream_pb2

from marline.mesh.endpoints import spiffe_id
from marline.mesh.model import Workload

METADATA: Final = "marline"
"""The metadata namespace of clusters (`service`) and endpoints (`workload`, `namespace`)."""
_FIRST_SERVER_ERROR: Final = 500
_LOG_LINE: Final = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE%'
    " %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_TRANSPORT_FAILURE_REASON% %DURATION%ms"
    ' "%REQ(:AUTHORITY)%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_HOST% %DOWNSTREAM_REMOTE_ADDRESS%\n'
)

_TCP_LOG_LINE: Final = (
    "[%START_TIME%] TCP %RESPONSE_FLAGS% %CONNECTION_TERMINATION_DETAILS% %UPSTREAM_TRANSPORT_FAILURE_REASON%"
    " %DURATION%ms %UPSTREAM_CLUSTER_RAW% %UPSTREAM_HOST% %DOWNSTREAM_REMOTE_ADDRESS%\n"
)
_HANDSHAKE_LOG_LINE: Final = (
    "[%START_TIME%] TLS refused %DOWNSTREAM_TRANSPORT_FAILURE_REASON% %DOWNSTREAM_REMOTE_ADDRESS%"
    " %DOWNSTREAM_LOCAL_ADDRESS%\n"
)

_HANDSHAKE_FAILED: Final = (
    'connection.transport_failure_reason != ""'
    ' && (xds.filter_chain_name == "" || !connection.transport_failure_reason.startsWith("TLS_error|error"))'
)
"""The TLS inspector notes in the same place that a connection is no TLS; that is a fault only where no filter
chain takes the connection."""


class Side(Enum):
    """Which end of a connection a proxy is (the label `reporter`)."""

    SOURCE = "source"
    DESTINATION = "destination"


class Security(Enum):
    """`connection_security_policy`, as the destination sees it; the source does not know yet."""

    MUTUAL_TLS = "mutual_tls"
    NONE = "none"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who reports: one workload, at one end of its connections."""

    side: Side
    workload: str
    principal: str
    """Its SPIFFE ID."""
    security: Security = Security.UNKNOWN


def source_reporter(workload: Workload, trust_domain: str) -> Reporter:
    """The reporter of what a workload, also a gateway's, sends."""
    return Reporter(Side.SOURCE, workload.name, _principal(workload, trust_domain))


def destination_reporter(workload: Workload, trust_domain: str, *, mtls: bool) -> Reporter:
    """The reporter of what a workload receives, over mTLS or in plain text."""
    security = Security.MUTUAL_TLS if mtls else Security.NONE
    return Reporter(Side.DESTINATION, workload.name, _principal(workload, trust_domain), security)


def _principal(workload: Workload, trust_domain: str) -> str:
    return spiffe_id(trust_domain, workload.namespace, workload.service_account)


def http_access_logs(reporter: Reporter) -> list[Any]:
    """The access loggers of an HTTP connection manager."""
    tags = _tags(reporter, "%PROTOCOL%")
    config = stats_pb2.Config(stat_prefix="istio")
    counter = config.counters.add(stat=_stat("requests_total", tags))
    counter.value_fixed.value = 1
    config.histograms.add(
        stat=_stat("request_duration_milliseconds", tags),
        unit=stats_pb2.Config.Histogram.Unit.Milliseconds,
        value_format="%DURATION%",
    )
    return [_logger("envoy.access_loggers.stats", config), _error_log()]


def tcp_access_logs(reporter: Reporter) -> list[Any]:
    """The access loggers of a TCP proxy: they write when a connection ends."""
    tags = _tags(reporter, "tcp")
    config = stats_pb2.Config(stat_prefix="istio")
    closed = config.counters.add(stat=_stat("tcp_connections_closed_total", tags))
    closed.value_fixed.value = 1
    # Istio counts as seen by the destination: what it was sent is `received`.
    config.counters.add(stat=_stat("tcp_received_bytes_total", tags), value_format="%BYTES_RECEIVED%")
    config.counters.add(stat=_stat("tcp_sent_bytes_total", tags), value_format="%BYTES_SENT%")
    return [_logger("envoy.access_loggers.stats", config), _failure_log(_TCP_LOG_LINE)]


def handshake_log() -> Any:
    """The access logger of a listener that terminates TLS: a line for each handshake that failed, with the
    reason (Envoy documentation, "Access logging")."""
    made = _line(_HANDSHAKE_LOG_LINE)
    failed = cel_pb2.ExpressionFilter(expression=_HANDSHAKE_FAILED)
    made.filter.extension_filter.name = "envoy.access_loggers.extension_filters.cel"
    made.filter.extension_filter.typed_config.Pack(failed)
    return made


def _tags(reporter: Reporter, protocol: str) -> list[tuple[str, str]]:
    if reporter.side is Side.SOURCE:
        source = (reporter.workload, reporter.principal)
        destination = ("%METADATA(UPSTREAM_HOST:marline:workload)%", "%UPSTREAM_PEER_URI_SAN%")
    else:
        source = ("unknown", "%DOWNSTREAM_PEER_URI_SAN%")
        destination = (reporter.workload, reporter.principal)
    return [
        ("reporter", reporter.side.value),
        ("source_workload", source[0]),
        ("source_principal", source[1]),
        ("destination_service", "%METADATA(CLUSTER:marline:service)%"),
        ("destination_workload", destination[0]),
        ("destination_principal", destination[1]),
        ("response_code", "%RESPONSE_CODE%"),
        ("response_flags", "%RESPONSE_FLAGS%"),
        ("connection_security_policy", reporter.security.value),
        ("request_protocol", protocol),
    ]


def _stat(name: str, tags: list[tuple[str, str]]) -> Any:
    made = stats_pb2.Config.Stat(name=name)
    for tag, value in tags:
        made.tags.add(name=tag, value_format=value)
    return made


def _logger(name: str, config: Any) -> Any:
    made = accesslog_pb2.AccessLog(name=name)
    made.typed_config.Pack(config)
    return made


def _error_log() -> Any:
    """A line for each request that failed in the mesh or in the application."""
    made = _line(_LOG_LINE)
    comparison = made.filter.or_filter.filters.add().status_code_filter.comparison
    comparison.op = accesslog_pb2.ComparisonFilter.Op.GE
    comparison.value.default_value = _FIRST_SERVER_ERROR
    comparison.value.runtime_key = "marline.access_log.least_status"
    made.filter.or_filter.filters.add().response_flag_filter.SetInParent()
    return made


def _failure_log(text: str) -> Any:
    """A line for each connection that failed in the mesh."""
    made = _line(text)
    made.filter.response_flag_filter.SetInParent()
    return made


def _line(text: str) -> Any:
    """Writes to Envoy's standard output."""
    config = stream_pb2.StdoutAccessLog()
    config.log_format.text_format_source.inline_string = text
    return _logger("envoy.access_loggers.stdout", config)
