"""Inbound filter chains: mTLS, plain text, or an application's own TLS, by what a port's policy allows.

Istio, "PeerAuthentication" and "Protocol Selection". Where both mTLS and other connections are
accepted, the mesh's own are known by their server name (`tls.SNI_SUFFIX`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from envoy.config.listener.v3 import listener_components_pb2 as components
from envoy.config.route.v3 import route_pb2

from marline.api.mesh_config.model import Normalization
from marline.api.networking.destination_rule import ConnectionPoolSettings
from marline.compile.authorization import (
    NOT_RESTRICTED,
    Authorization,
    http_filters,
    http_logs,
    network_filters,
    network_logs,
)
from marline.compile.authorization_rules import Arrival
from marline.compile.filters import (
    PLAIN_HTTP,
    TcpRoute,
    add_network_filters,
    inbound_http_filter,
    tcp_filter,
    to_cluster,
)
from marline.compile.gateway_tls import Termination, downstream_tls
from marline.compile.inbound_policies import NO_POLICIES, PortPolicies
from marline.compile.rate_limits import RateLimiter, limit_filters, limit_route, limit_table
from marline.compile.request_authentication import TokenRule
from marline.compile.resilience import protection_filters
from marline.compile.routes_l4 import TcpSettings, WeightedTarget
from marline.compile.routes_targets import duration
from marline.compile.telemetry import Reporter
from marline.compile.tls import HTTP_ALPN, SNI_SUFFIX, mesh_server_socket, tls_socket_of
from marline.mesh.authentication import MtlsMode
from marline.mesh.mesh_tls import MeshPeers
from marline.mesh.model import InboundPort, Protocol

_RETRY_ON: Final = "reset-before-request"
"""The application closed an idle connection just as a request was about to use it: safe to repeat."""
_RETRIES: Final = 2


@dataclass(frozen=True, slots=True)
class ServedPort:
    """A port of a workload, what it accepts, and the cluster of the application behind it."""

    port: InboundPort
    mode: MtlsMode
    cluster: str
    policies: PortPolicies = NO_POLICIES
    pool: ConnectionPoolSettings | None = None
    """What limits connections to the application."""
    tls: Termination | None = None
    """How TLS of callers outside the mesh ends here, where the policy lets them in."""
    bind: str = ""
    """An address at which the port is listened to; "": the proxy's own."""
    tokens: tuple[TokenRule, ...] = ()
    """Which tokens of end users its requests may have."""
    authorization: Authorization = NOT_RESTRICTED
    numbers: tuple[int, ...] = ()
    """Those by which policies know the port."""
    paths: Normalization = "DEFAULT"

    @property
    def route(self) -> TcpRoute:
        """Where bytes go."""
        tcp = self.pool.tcp if self.pool is not None else None
        if tcp is None:
            return to_cluster(self.cluster)
        settings = TcpSettings(tcp.idle_timeout, tcp.max_connection_duration)
        return TcpRoute((WeightedTarget(self.cluster, 1),), settings)

    @property
    def detects(self) -> bool:
        return self.port.protocol is Protocol.AUTO

    @property
    def detects_plain_http(self) -> bool:
        return self.detects and self.mode is not MtlsMode.STRICT

    @property
    def needs_inspection(self) -> bool:
        """Is there more than one kind of connection to tell apart, or one to know more of?"""
        permissive = self.mode is MtlsMode.PERMISSIVE
        return self.detects or permissive or self.authorization.asks_for_server_names


@dataclass(frozen=True, slots=True)
class InboundPorts:
    """All ports of a workload, also those that no service knows."""

    served: tuple[ServedPort, ...]
    others: tuple[tuple[int, MtlsMode], ...]
    """Ports that only a policy names."""
    mode: MtlsMode
    """What any other port accepts."""
    passthrough: str
    """The cluster for ports that nothing is known of."""
    authorization: Authorization = NOT_RESTRICTED


@dataclass(frozen=True, slots=True)
class Peers:
    """Who connects, with mTLS and without: how metrics name them, and what holds for mTLS."""

    mtls: Reporter
    plain: Reporter
    mesh: MeshPeers


def served_chains(served: ServedPort, destination_port: int, peers: Peers) -> Iterator[Any]:
    """The chains of a port; `destination_port` is a condition unless it is 0."""
    for kind in _kinds(served):
        name = f"{served.cluster}-{kind.name}"
        made = _chain(name, destination_port)
        _set_match(made.filter_chain_match, kind, served)
        if kind.mtls:
            made.transport_socket.CopyFrom(
                mesh_server_socket(peers.mesh, HTTP_ALPN if served.detects else ())
            )
        elif kind.terminates and served.tls is not None:
            made.transport_socket.CopyFrom(tls_socket_of(downstream_tls(served.tls)))
        reporter = peers.mtls if kind.mtls else peers.plain
        shown = kind.mtls or (kind.terminates and served.tls is not None and served.tls.identifies_clients)
        arrival = Arrival(kind.http, shown, served.numbers)
        if kind.http:
            limiters = (served.policies.limiter,) if served.policies.limiter is not None else ()
            table = _application_table(served.cluster, limiters)
            made.filters.append(
                inbound_http_filter(
                    served.cluster,
                    table,
                    reporter,
                    served.paths,
                    limit_filters(limiters),
                    tuple(protection_filters(served.policies.admission, served.policies.concurrency)),
                    served.tokens,
                    tuple(http_filters(served.authorization, arrival)),
                    http_logs(served.authorization),
                )
            )
        else:
            add_network_filters(made, network_filters(served.authorization, arrival))
            logs = network_logs(served.authorization)
            made.filters.append(tcp_filter(served.route, served.cluster, reporter, logs))
        yield made


def opaque_chains(
    mode: MtlsMode, cluster: str, destination_port: int, peers: Peers, authorization: Authorization
) -> Iterator[Any]:
    """The chains of ports of which nothing is known but what they accept, and from whom."""
    numbers = (destination_port,) if destination_port else ()
    label = destination_port or "any"
    if mode is not MtlsMode.DISABLE:
        made = _chain(f"{cluster}-{label}-mtls", destination_port)
        made.filter_chain_match.transport_protocol = "tls"
        if mode is MtlsMode.PERMISSIVE:
            made.filter_chain_match.server_names.append(f"*.{SNI_SUFFIX}")
        made.transport_socket.CopyFrom(mesh_server_socket(peers.mesh))
        add_network_filters(made, network_filters(authorization, Arrival(False, True, numbers)))
        made.filters.append(tcp_filter(to_cluster(cluster), cluster, peers.mtls, network_logs(authorization)))
        yield made
    if mode is not MtlsMode.STRICT:
        made = _chain(f"{cluster}-{label}-plain", destination_port)
        add_network_filters(made, network_filters(authorization, Arrival(False, False, numbers)))
        made.filters.append(
            tcp_filter(to_cluster(cluster), cluster, peers.plain, network_logs(authorization))
        )
        yield made


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of connection that a port accepts."""

    name: str
    mtls: bool
    http: bool
    transport: str = ""
    """`tls` or `raw_buffer`; "": either."""
    detected: bool = False
    """Only if the connection's first bytes (or ALPN) say that it is HTTP."""
    terminates: bool = False
    """TLS ends here, by the certificate of the port's own."""


def _kinds(served: ServedPort) -> Iterator[_Kind]:
    is_http, detects = served.port.protocol.is_http, served.detects
    if served.mode is not MtlsMode.DISABLE:
        if detects:
            yield _Kind("mtls-http", True, True, "tls", detected=True)
        yield _Kind("mtls", True, is_http, "tls")
    if served.tls is not None and served.mode is not MtlsMode.STRICT:
        yield _Kind("own-tls", False, is_http, "tls", terminates=True)
    elif served.mode is not MtlsMode.STRICT:
        if detects:
            yield _Kind("plain-http", False, True, "raw_buffer", detected=True)
        if is_http and served.mode is MtlsMode.PERMISSIVE:
            yield _Kind("plain", False, True, "raw_buffer")
            yield _Kind("own-tls", False, False, "tls")
        else:
            yield _Kind("plain", False, is_http)


def _set_match(match: Any, kind: _Kind, served: ServedPort) -> None:
    if kind.mtls and served.mode is MtlsMode.PERMISSIVE:
        match.server_names.append(f"*.{SNI_SUFFIX}")
    if served.needs_inspection and kind.transport:
        match.transport_protocol = kind.transport
    if kind.detected:
        match.application_protocols.extend(HTTP_ALPN if kind.mtls else PLAIN_HTTP)


def _chain(name: str, destination_port: int) -> Any:
    made = components.FilterChain(name=name)
    if destination_port:
        made.filter_chain_match.destination_port.value = destination_port
    return made


def _application_table(cluster: str, limiters: tuple[RateLimiter, ...]) -> Any:
    """Every request goes to the application. Its sender has the time limits."""
    made = route_pb2.RouteConfiguration(name=cluster)
    made.validate_clusters.value = False
    host = made.virtual_hosts.add(name="inbound", domains=["*"])
    route = host.routes.add(name="default")
    route.match.prefix = "/"
    route.route.cluster = cluster
    route.route.timeout.CopyFrom(duration(0))
    route.route.retry_policy.retry_on = _RETRY_ON
    route.route.retry_policy.num_retries.value = _RETRIES
    for limiter in limiters:
        limit_route(route, limiter, "")
    limit_table(made, limiters)
    return made
