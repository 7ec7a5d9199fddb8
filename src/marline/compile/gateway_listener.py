"""A gateway's listeners: filter chains by SNI, HTTP connection managers, TCP proxies.

What is exposed to strangers follows Envoy's "Configuring Envoy as an edge proxy": the client's
address is the connection's, its claims about certificates are removed, paths are normalised.
"""

import ipaddress
from dataclasses import dataclass
from typing import Any, Final

from envoy.config.core.v3 import address_pb2, config_source_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.extensions.filters.http.grpc_web.v3 import grpc_web_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb
from envoy.extensions.filters.network.sni_cluster.v3 import sni_cluster_pb2

from marline.api.mesh_config.model import Normalization
from marline.compile.authorization import (
    NOT_RESTRICTED,
    Authorization,
    http_filters,
    http_logs,
    network_filters,
    network_logs,
)
from marline.compile.authorization_rules import Arrival
from marline.compile.endpoints import socket_address
from marline.compile.filters import (
    HCM,
    TcpRoute,
    add_http_filters,
    add_limit_filters,
    add_network_filters,
    add_route_filters,
    add_router,
    listener_filter,
    normalize_paths,
    tcp_filter,
)
from marline.compile.gateway_tls import Termination, downstream_tls
from marline.compile.rate_limits import LimitFilter
from marline.compile.request_authentication import TokenRule, authenticate
from marline.compile.routes_l4 import PLAIN_TCP, TcpSettings, WeightedTarget
from marline.compile.routes_targets import duration
from marline.compile.telemetry import Reporter, handshake_log, http_access_logs

GRPC_WEB: Final = "envoy.filters.http.grpc_web"
SNI_CLUSTER: Final = "envoy.filters.network.sni_cluster"
_REFUSED: Final = (WeightedTarget("BlackHoleCluster", 1),)
_BUFFER_LIMIT: Final = 32 * 1024
"""Bytes that a connection may have waiting (Envoy's edge recommendation)."""
_MAX_STREAMS: Final = 100
"""Concurrent streams of one HTTP/2 connection (Envoy's edge recommendation)."""
_HEADERS_SECONDS: Final = 60.0
"""The time in which a client must have sent its request headers: against slow-header attacks."""


@dataclass(frozen=True, slots=True)
class Chain:
    """One filter chain: which connections, and what is done with them."""

    name: str
    sni_hosts: tuple[str, ...] = ()
    destination_subnets: tuple[str, ...] = ()
    source_subnets: tuple[str, ...] = ()
    termination: Termination | None = None
    table: str = ""
    """The route table of an HTTP chain; "" for a chain that forwards bytes."""
    limits: tuple[LimitFilter, ...] = ()
    """Of routes of the table."""
    clusters: tuple[WeightedTarget, ...] = _REFUSED
    """Of a chain that forwards bytes; by default connections are closed at once."""
    settings: TcpSettings = PLAIN_TCP
    """How it forwards them."""
    to_named_cluster: bool = False
    """Bytes go to the cluster that the SNI names, if there is one."""
    stat_prefix: str = ""
    grpc_web: bool = False
    """Requests of browsers that speak gRPC-Web become gRPC."""


@dataclass(frozen=True, slots=True)
class Demands:
    """What is demanded of whoever calls through a listener."""

    tokens: tuple[TokenRule, ...] = ()
    """Which ones of end users requests may have."""
    authorization: Authorization = NOT_RESTRICTED
    ports: tuple[int, ...] = ()
    """The numbers by which policies know the listener's port."""
    paths: Normalization = "DEFAULT"
    trusted_proxies: int = 0
    """So many before the gateway tell truly who their clients are."""
    proxy_protocol: bool = False
    """Connections begin with a header of the PROXY protocol."""

    def arrival(self, chain: Chain) -> Arrival:
        shown = chain.termination
        return Arrival(bool(chain.table), shown is not None and shown.identifies_clients, self.ports)


def build_listener(
    name: str,
    address: str,
    port: int,
    chains: tuple[Chain, ...],
    reporter: Reporter,
    also: str = "",
    demands: Demands = Demands(),
) -> listener_pb2.Listener:
    """An Envoy `Listener` at an address or a Unix socket, and at a second address if there is one. A
    connection that no chain is for is closed."""
    listener = listener_pb2.Listener(name=name, traffic_direction="OUTBOUND")
    listener.address.CopyFrom(socket_address(address, port))
    if also:
        listener.additional_addresses.add().address.CopyFrom(socket_address(also, port))
    listener.per_connection_buffer_limit_bytes.value = _BUFFER_LIMIT
    if demands.proxy_protocol:
        listener.listener_filters.append(listener_filter("proxy_protocol"))
    if any(chain.sni_hosts or chain.termination for chain in chains):
        listener.listener_filters.append(listener_filter("tls_inspector"))
        listener.access_log.append(handshake_log())
    for chain in chains:
        listener.filter_chains.append(_filter_chain(name, chain, reporter, demands))
    return listener


def _filter_chain(listener: str, chain: Chain, reporter: Reporter, demands: Demands) -> Any:
    made = listener_components_pb2.FilterChain(name=chain.name)
    match = made.filter_chain_match
    match.server_names.extend(chain.sni_hosts)
    match.prefix_ranges.extend(_ranges(chain.destination_subnets))
    match.source_prefix_ranges.extend(_ranges(chain.source_subnets))
    if chain.termination is not None:
        made.transport_socket.name = "envoy.transport_sockets.tls"
        made.transport_socket.typed_config.Pack(downstream_tls(chain.termination))
    if chain.table:
        prefix = chain.stat_prefix or f"outbound_{listener}"
        made.filters.add(name=HCM).typed_config.Pack(_connection_manager(prefix, chain, reporter, demands))
        return made
    add_network_filters(made, network_filters(demands.authorization, demands.arrival(chain)))
    if chain.to_named_cluster:
        made.filters.add(name=SNI_CLUSTER).typed_config.Pack(sni_cluster_pb2.SniCluster())
    alone = chain.clusters[0].cluster if len(chain.clusters) == 1 else listener
    made.filters.append(
        tcp_filter(
            TcpRoute(chain.clusters, chain.settings),
            chain.stat_prefix or alone,
            reporter,
            network_logs(demands.authorization),
        )
    )
    return made


def _ranges(subnets: tuple[str, ...]) -> list[Any]:
    made = []
    for subnet in subnets:
        network = ipaddress.ip_network(subnet)
        block = address_pb2.CidrRange(address_prefix=str(network.network_address))
        block.prefix_len.value = network.prefixlen
        made.append(block)
    return made


def _connection_manager(stat_prefix: str, chain: Chain, reporter: Reporter, demands: Demands) -> Any:
    kind = hcm_pb.HttpConnectionManager
    made = kind(
        stat_prefix=stat_prefix,
        codec_type=kind.AUTO,
        server_name="marline-envoy",
        forward_client_cert_details=kind.SANITIZE_SET,
    )
    made.use_remote_address.value = True
    made.xff_num_trusted_hops = demands.trusted_proxies
    normalize_paths(made, demands.paths)
    # Long-lived streams and WebSockets are ordinary traffic: no limit, as at Istio's gateways.
    made.stream_idle_timeout.CopyFrom(duration(0))
    made.request_headers_timeout.CopyFrom(duration(_HEADERS_SECONDS))
    made.http2_protocol_options.allow_connect = True
    made.http2_protocol_options.max_concurrent_streams.value = _MAX_STREAMS
    details = made.set_current_client_cert_details
    details.subject.value = True
    details.cert = details.uri = details.dns = True
    made.rds.route_config_name = chain.table
    made.rds.config_source.ads.SetInParent()
    made.rds.config_source.resource_api_version = config_source_pb2.ApiVersion.V3
    made.upgrade_configs.add(upgrade_type="websocket")
    if chain.grpc_web:
        made.http_filters.add(name=GRPC_WEB).typed_config.Pack(grpc_web_pb2.GrpcWeb())
    # Routes may ask for what tokens say (istio.io, "JWT claim based routing").
    authenticate(made, demands.tokens, reroutes=True)
    add_http_filters(made, http_filters(demands.authorization, demands.arrival(chain)))
    add_route_filters(made, reroutes=bool(demands.tokens))
    add_limit_filters(made, chain.limits, reroutes=bool(demands.tokens))
    add_router(made)
    made.access_log.extend((*http_access_logs(reporter), *http_logs(demands.authorization)))
    return made
