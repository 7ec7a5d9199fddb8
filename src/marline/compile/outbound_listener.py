"""One listener for what an application sends: HTTP by route table, everything else by filter chain."""

import ipaddress
from dataclasses import dataclass
from typing import Any, Final

from envoy.config.core.v3 import address_pb2, base_pb2
from envoy.config.listener.v3 import listener_components_pb2 as components
from envoy.config.listener.v3 import listener_pb2

from marline.api.mesh_config.model import Normalization
from marline.compile.filters import (
    DETECTION_SECONDS,
    PLAIN_HTTP,
    TcpRoute,
    listener_filter,
    outbound_http_filter,
    tcp_filter,
    tcp_filters,
)
from marline.compile.routes_targets import duration
from marline.compile.telemetry import Reporter

ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 (it binds no port: connections are handed to it)


@dataclass(frozen=True, slots=True)
class TcpChain:
    """Connections that fulfil all of the given conditions."""

    route: TcpRoute
    sni_hosts: tuple[str, ...] = ()
    destination_subnets: tuple[str, ...] = ()
    source_subnets: tuple[str, ...] = ()

    @property
    def is_catch_all(self) -> bool:
        return not (self.sni_hosts or self.destination_subnets or self.source_subnets)


@dataclass(frozen=True, slots=True)
class OutboundListener:
    name: str
    address: str
    port: int
    reporter: Reporter
    table: str = ""
    """The route table for HTTP; "": nothing is taken for HTTP."""
    chains: tuple[TcpChain, ...] = ()
    fallback: TcpRoute | None = None
    """For what is neither HTTP nor meant by a chain; None: everything is HTTP."""
    bind: bool = False
    """Listen on the port itself, rather than take over what `virtualOutbound` accepted."""
    server_first: bool = False
    """The other side may be one that speaks first: do not wait for ever for the application's bytes."""
    forward_proxy: bool = False
    """It is the application's HTTP proxy: requests name their destination, also by CONNECT."""
    netns: str = ""
    paths: Normalization = "DEFAULT"


def build_outbound_listener(spec: OutboundListener) -> listener_pb2.Listener:
    """An Envoy `Listener`."""
    made = listener_pb2.Listener(name=spec.name, traffic_direction=base_pb2.TrafficDirection.OUTBOUND)
    made.address.CopyFrom(listen_address(spec.address, spec.port, spec.netns))
    if not spec.bind:
        made.bind_to_port.value = False
    _add_inspectors(made, spec)
    if spec.table:
        made.filter_chains.append(_http_chain(spec))
    for index, chain in enumerate(spec.chains):
        made.filter_chains.append(_tcp_chain(spec, index, chain))
    if spec.fallback is not None:
        prefix = spec.fallback.clusters[0].cluster if len(spec.fallback.clusters) == 1 else spec.name
        made.default_filter_chain.name = "fallback"
        made.default_filter_chain.filters.append(tcp_filter(spec.fallback, prefix, spec.reporter))
    return made


def _add_inspectors(made: Any, spec: OutboundListener) -> None:
    detects = bool(spec.table) and spec.fallback is not None
    if detects or any(chain.sni_hosts for chain in spec.chains):
        made.listener_filters.append(listener_filter("tls_inspector"))
    if detects:
        made.listener_filters.append(listener_filter("http_inspector"))
    if made.listener_filters:
        made.continue_on_listener_filters_timeout = True
        made.listener_filters_timeout.CopyFrom(duration(DETECTION_SECONDS if spec.server_first else 0))


def _http_chain(spec: OutboundListener) -> Any:
    made = components.FilterChain(name="http")
    if spec.fallback is not None:
        made.filter_chain_match.transport_protocol = "raw_buffer"
        made.filter_chain_match.application_protocols.extend(PLAIN_HTTP)
    prefix = f"outbound_{spec.name}"
    made.filters.append(
        outbound_http_filter(prefix, spec.table, spec.reporter, spec.paths, forward_proxy=spec.forward_proxy)
    )
    return made


def _tcp_chain(spec: OutboundListener, index: int, chain: TcpChain) -> Any:
    made = components.FilterChain(name=f"tcp-{index}")
    match = made.filter_chain_match
    match.server_names.extend(chain.sni_hosts)
    match.prefix_ranges.extend(cidr(subnet) for subnet in chain.destination_subnets)
    match.source_prefix_ranges.extend(cidr(subnet) for subnet in chain.source_subnets)
    if chain.sni_hosts:
        match.transport_protocol = "tls"
    prefix = chain.route.clusters[0].cluster if len(chain.route.clusters) == 1 else spec.name
    made.filters.extend(tcp_filters(chain.route, prefix, spec.reporter))
    return made


def cidr(subnet: str) -> Any:
    network = ipaddress.ip_network(subnet, strict=False)
    made = address_pb2.CidrRange(address_prefix=str(network.network_address))
    made.prefix_len.value = network.prefixlen
    return made


def listen_address(address: str, port: int, netns: str = "") -> Any:
    """Where a listener is; `netns`: the path of another network namespace."""
    made = address_pb2.Address()
    if address.startswith("unix://"):
        made.pipe.path = address.removeprefix("unix://")
        return made
    made.socket_address.address, made.socket_address.port_value = address, port
    if netns:
        made.socket_address.network_namespace_filepath = netns
    return made
