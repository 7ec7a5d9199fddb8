"""Network filters of sidecars: HTTP connection managers and TCP proxies; listener filters."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from envoy.config.core.v3 import config_source_pb2
from envoy.config.listener.v3 import listener_components_pb2 as components
from envoy.extensions.filters.http.cors.v3 import cors_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.http.stateful_session.v3 import stateful_session_pb2
from envoy.extensions.filters.listener.http_inspector.v3 import http_inspector_pb2
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2
from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2

from marline.api.mesh_config.model import Normalization
from marline.compile.forward_proxy import FILTER as FORWARD_PROXY_FILTER
from marline.compile.forward_proxy import SNI_FILTER, forward_proxy_filter, resolve_sni
from marline.compile.gateway_api_authorization import ROUTE_FILTER as AUTHORIZATION_FILTER
from marline.compile.gateway_api_authorization import idle_authorization
from marline.compile.gateway_api_session import SESSION_FILTER
from marline.compile.rate_limits import LimitFilter, build_filter
from marline.compile.request_authentication import TokenRule, authenticate
from marline.compile.routes_faults import CORS_FILTER, FAULT_FILTER
from marline.compile.routes_l4 import PLAIN_TCP, TcpSettings, WeightedTarget
from marline.compile.routes_targets import duration
from marline.compile.telemetry import Reporter, http_access_logs, tcp_access_logs

ROUTER_FILTER: Final = "envoy.filters.http.router"
HCM: Final = "envoy.filters.network.http_connection_manager"
TCP_PROXY: Final = "envoy.filters.network.tcp_proxy"
PLAIN_HTTP: Final = ("http/1.0", "http/1.1", "h2c")
"""What the HTTP inspector calls unencrypted HTTP."""
DETECTION_SECONDS: Final = 5.0
"""How long a port of undeclared protocol waits for the client's first bytes. Then the server may be the
one that speaks first, and the connection is TCP."""


@dataclass(frozen=True, slots=True)
class TcpRoute:
    """Where bytes go: clusters by weight, and how."""

    clusters: tuple[WeightedTarget, ...]
    settings: TcpSettings = PLAIN_TCP


def to_cluster(name: str) -> TcpRoute:
    return TcpRoute((WeightedTarget(name, 1),))


def tcp_filters(route: TcpRoute, stat_prefix: str, reporter: Reporter) -> list[Any]:
    """The filters that forward bytes to where a route leads."""
    forward = tcp_filter(route, stat_prefix, reporter)
    if not route.settings.resolve_at:
        return [forward]
    return [_network_filter(SNI_FILTER, resolve_sni(route.settings.resolve_at)), forward]


def tcp_filter(route: TcpRoute, stat_prefix: str, reporter: Reporter, logs: tuple[Any, ...] = ()) -> Any:
    """A filter that forwards bytes. Without clusters it closes the connection."""
    made = tcp_proxy_pb2.TcpProxy(stat_prefix=stat_prefix)
    if len(route.clusters) == 1:
        made.cluster = route.clusters[0].cluster
    else:
        for item in route.clusters:
            made.weighted_clusters.clusters.add(name=item.cluster, weight=item.weight)
    _apply(made, route.settings)
    made.access_log.extend((*tcp_access_logs(reporter), *logs))
    return _network_filter(TCP_PROXY, made)


def _apply(made: Any, settings: TcpSettings) -> None:
    if settings.idle_timeout is not None:
        made.idle_timeout.CopyFrom(duration(settings.idle_timeout))
    if settings.max_duration is not None:
        made.max_downstream_connection_duration.CopyFrom(duration(settings.max_duration))
    if settings.by_source:
        made.hash_policy.add().source_ip.SetInParent()
    if settings.tunnel is not None:
        host, port = settings.tunnel.target_host, settings.tunnel.target_port
        made.tunneling_config.hostname = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        made.tunneling_config.use_post = settings.tunnel.protocol == "POST"


def outbound_http_filter(
    stat_prefix: str, table: str, reporter: Reporter, paths: Normalization, *, forward_proxy: bool = False
) -> Any:
    """The connection manager for an application's own requests, routed by the table `table` (RDS)."""
    made = _manager(stat_prefix, reporter, paths)
    made.rds.route_config_name = table
    made.rds.config_source.ads.SetInParent()
    made.rds.config_source.resource_api_version = config_source_pb2.ApiVersion.V3
    add_route_filters(made)
    resolving = _add_http_filter(made, FORWARD_PROXY_FILTER, forward_proxy_filter())
    resolving.disabled = not forward_proxy  # elsewhere only the routes turn it on that need it
    if forward_proxy:
        made.upgrade_configs.add(upgrade_type="CONNECT")
    add_router(made)
    return _network_filter(HCM, made)


def inbound_http_filter(
    stat_prefix: str,
    table: Any,
    reporter: Reporter,
    paths: Normalization,
    limits: tuple[LimitFilter, ...] = (),
    protection: tuple[tuple[str, Any], ...] = (),
    tokens: tuple[TokenRule, ...] = (),
    guards: tuple[tuple[str, Any], ...] = (),
    logs: tuple[Any, ...] = (),
) -> Any:
    """The connection manager for requests to an application, with filters for its rate limits, and others by
    name that protect it; `tokens` of end users are verified first, then `guards` refuse who may not call
    (and `logs` tell of it). It
    is told who calls, by the peer's certificate (`x-forwarded-client-cert`, as Istio's sidecars do)."""
    made = _manager(stat_prefix, reporter, paths)
    made.forward_client_cert_details = hcm_pb2.HttpConnectionManager.APPEND_FORWARD
    details = made.set_current_client_cert_details
    details.subject.value = True
    details.uri = details.dns = True
    made.route_config.CopyFrom(table)
    authenticate(made, tokens)
    add_http_filters(made, guards)
    made.access_log.extend(logs)
    add_limit_filters(made, limits)
    add_http_filters(made, protection)
    add_router(made)
    return _network_filter(HCM, made)


def _manager(stat_prefix: str, reporter: Reporter, paths: Normalization) -> Any:
    kind = hcm_pb2.HttpConnectionManager
    made = kind(
        stat_prefix=stat_prefix,
        codec_type=kind.AUTO,
        server_header_transformation=kind.PASS_THROUGH,
    )
    made.use_remote_address.value = False
    normalize_paths(made, paths)
    # Streams and WebSockets may be silent for long; routes have timeouts of their own.
    made.stream_idle_timeout.CopyFrom(duration(0))
    made.http2_protocol_options.allow_connect = True
    made.upgrade_configs.add(upgrade_type="websocket")
    made.access_log.extend(http_access_logs(reporter))
    return made


def normalize_paths(manager: Any, how: Normalization) -> None:
    """What is done to a request's path before anything looks at it, and so to what the application gets
    (istio.io, "Path normalization"). The default is that of RFC 3986: dots are followed."""
    kind = hcm_pb2.HttpConnectionManager
    manager.normalize_path.value = how != "NONE"
    manager.merge_slashes = how in ("MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES")
    decodes = how == "DECODE_AND_MERGE_SLASHES"
    manager.path_with_escaped_slashes_action = kind.UNESCAPE_AND_FORWARD if decodes else kind.KEEP_UNCHANGED


def add_route_filters(manager: Any, *, reroutes: bool = False) -> None:
    """Faults, CORS, external authorization, sessions. A route turns them on by configuring them; no other
    request pays for them (Envoy documentation, "HTTP filters", "Route based filter chain"). Which filters a
    request has follows from its first route: where it may get another one, it has them all."""
    for name, config in (
        (FAULT_FILTER, fault_pb2.HTTPFault()),
        (CORS_FILTER, cors_pb2.Cors()),
        (AUTHORIZATION_FILTER, idle_authorization()),
        (SESSION_FILTER, stateful_session_pb2.StatefulSession()),
    ):
        _add_http_filter(manager, name, config).disabled = not reroutes


def add_limit_filters(manager: Any, limits: tuple[LimitFilter, ...], *, reroutes: bool = False) -> None:
    """Rate limits, disabled as the above until a route is limited."""
    for wanted in limits:
        _add_http_filter(manager, wanted.name, build_filter(wanted)).disabled = not reroutes


def add_http_filters(manager: Any, filters: Iterable[tuple[str, Any]]) -> None:
    """Filters by name, in order."""
    for name, config in filters:
        _add_http_filter(manager, name, config)


def add_router(manager: Any) -> None:
    """The last filter of every connection manager."""
    _add_http_filter(manager, ROUTER_FILTER, router_pb2.Router())


def _add_http_filter(manager: Any, name: str, config: Any) -> Any:
    made = manager.http_filters.add(name=name)
    made.typed_config.Pack(config)
    return made


def add_network_filters(chain: Any, filters: Iterable[tuple[str, Any]]) -> None:
    """Filters of a chain by name, in order."""
    chain.filters.extend(_network_filter(name, config) for name, config in filters)


def _network_filter(name: str, config: Any) -> Any:
    made = components.Filter(name=name)
    made.typed_config.Pack(config)
    return made


def listener_filter(kind: str) -> Any:
    """`original_dst`, `proxy_protocol`, `tls_inspector` or `http_inspector`."""
    config = {
        "proxy_protocol": proxy_protocol_pb2.ProxyProtocol,
        "original_dst": original_dst_pb2.OriginalDst,
        "tls_inspector": tls_inspector_pb2.TlsInspector,
        "http_inspector": http_inspector_pb2.HttpInspector,
    }[kind]()
    made = components.ListenerFilter(name=f"envoy.filters.listener.{kind}")
    made.typed_config.Pack(config)
    return made


def only_for_ports(made: Any, ports: tuple[int, ...]) -> Any:
    """Let a listener filter act on connections to these ports only: a server that speaks first on
    another one must not wait for it."""
    match = components.ListenerFilterChainMatchPredicate()
    for port in ports:
        one = components.ListenerFilterChainMatchPredicate()
        one.destination_port_range.start, one.destination_port_range.end = port, port + 1
        match.or_match.rules.append(one)
    if len(ports) == 1:
        match = match.or_match.rules[0]
    made.filter_disabled.not_match.CopyFrom(match)
    return made
