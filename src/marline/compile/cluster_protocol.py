"""Which HTTP a cluster speaks: as the port declares, as a DestinationRule says, or as the client does."""

from typing import Any, Final

from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2

from marline.api.networking.destination_rule import ConnectionPoolSettings, HTTPSettings, TCPSettings
from marline.compile.routes_targets import duration
from marline.mesh.model import Protocol

OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_MAX_STREAMS: Final = 2**30
"""Concurrent streams of one connection, as in Istio: the server's own limit is what counts."""


def set_protocol(
    cluster: Any,
    protocol: Protocol,
    pool: ConnectionPoolSettings | None = None,
    *,
    by_request: bool = False,
    verifies: bool = True,
    negotiates: bool = False,
    follows_client: bool = True,
) -> None:
    """Envoy's HTTP protocol options; none for a port that carries no HTTP, unless bytes are tunnelled there.

    `by_request`: the cluster connects to the host that the request names; TLS has to expect that host, if it
    `verifies` anything. `negotiates`: its TLS is that of the server, which says by ALPN what it speaks where
    the port does not. `follows_client`: where the port does not say it, requests go on as they came, else
    as HTTP/1.1.
    """
    http = (pool.http if pool is not None else None) or HTTPSettings()
    tcp = (pool.tcp if pool is not None else None) or TCPSettings()
    upgraded = http.h2_upgrade_policy == "UPGRADE"
    asks = negotiates and protocol in (Protocol.AUTO, Protocol.HTTPS)
    if not (protocol.is_http or protocol is Protocol.AUTO or by_request or upgraded or asks):
        return
    made = http_protocol_options_pb2.HttpProtocolOptions()
    if by_request:
        made.upstream_http_protocol_options.auto_sni = True
        made.upstream_http_protocol_options.auto_san_validation = verifies
    common = made.common_http_protocol_options
    idle = tcp.idle_timeout if http.idle_timeout is None else http.idle_timeout
    if idle is not None:
        common.idle_timeout.CopyFrom(duration(idle))
    if http.max_requests_per_connection:
        common.max_requests_per_connection.value = http.max_requests_per_connection
    if tcp.max_connection_duration is not None:
        common.max_connection_duration.CopyFrom(duration(tcp.max_connection_duration))
    if http.use_client_protocol:
        _as_client(made.use_downstream_protocol_config, http)
    elif upgraded or protocol in (Protocol.HTTP2, Protocol.GRPC):
        _http2(made.explicit_http_config.http2_protocol_options, http)
    elif asks:
        made.auto_config.http_protocol_options.SetInParent()
        _http2(made.auto_config.http2_protocol_options, http)
    elif protocol is Protocol.AUTO and follows_client:
        _as_client(made.use_downstream_protocol_config, http)
    else:
        made.explicit_http_config.http_protocol_options.SetInParent()
    cluster.typed_extension_protocol_options[OPTIONS].Pack(made)


def _as_client(options: Any, http: HTTPSettings) -> None:
    options.http_protocol_options.SetInParent()
    _http2(options.http2_protocol_options, http)


def _http2(options: Any, http: HTTPSettings) -> None:
    options.max_concurrent_streams.value = http.max_concurrent_streams or _MAX_STREAMS
    options.allow_connect = True
