"""Transparent capture: `virtualOutbound` and the listeners that it hands connections to.

HTTP ports have one listener for all addresses, since requests say whom they are for. What may be
something else has one for each virtual IP, or is told apart by SNI or by its subnet.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import listener_pb2

from marline.compile.filters import TcpRoute, listener_filter, tcp_filter, to_cluster
from marline.compile.outbound_listener import (
    ANY_ADDRESS,
    OutboundListener,
    TcpChain,
    build_outbound_listener,
    listen_address,
)
from marline.compile.passthrough import BLACK_HOLE, table_recipes, unknown_cluster
from marline.compile.resource import LISTENER, Recipe
from marline.compile.routes import HTTP_PORT, carries_http, l4_routes
from marline.compile.routes_l4 import L4Route, disjoint
from marline.compile.telemetry import Reporter, source_reporter
from marline.mesh.model import Port, Protocol, Proxy, Service
from marline.mesh.registry import may_be_opaque
from marline.mesh.services import is_single_address
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.visibility import Scope

_TLS: Final = (Protocol.TLS, Protocol.HTTPS)


def fallback_route(snapshot: MeshSnapshot, scope: Scope) -> TcpRoute:
    """Where connections go that are for nothing that the mesh knows."""
    return to_cluster(unknown_cluster(scope, snapshot.settings.cluster_domain) or BLACK_HOLE)


def virtual_outbound_recipe(snapshot: MeshSnapshot, proxy: Proxy, scope: Scope) -> Recipe:
    """The listener that receives everything that an application sends."""
    reporter = source_reporter(proxy.workloads[0], snapshot.settings.trust_domain)
    inputs = (
        proxy.outbound_capture_port,
        fallback_route(snapshot, scope),
        reporter,
        proxy.workloads[0].netns,
    )
    return Recipe(LISTENER, "virtualOutbound", build_virtual_outbound, inputs)


def build_virtual_outbound(
    port: int, fallback: TcpRoute, reporter: Reporter, netns: str
) -> listener_pb2.Listener:
    """Hands each connection to the listener of its original destination; what has none is passed on."""
    made = listener_pb2.Listener(name="virtualOutbound", traffic_direction=base_pb2.TrafficDirection.OUTBOUND)
    made.address.CopyFrom(listen_address(ANY_ADDRESS, port, netns))
    made.use_original_dst.value = True
    made.listener_filters.append(listener_filter("original_dst"))
    # A connection to the capture port itself would be passed on to itself for ever.
    loop = made.filter_chains.add(name="loop")
    loop.filter_chain_match.destination_port.value = port
    loop.filters.append(tcp_filter(to_cluster(BLACK_HOLE), BLACK_HOLE, reporter))
    made.default_filter_chain.name = "unknown"
    made.default_filter_chain.filters.append(tcp_filter(fallback, fallback.clusters[0].cluster, reporter))
    return made


def port_recipes(snapshot: MeshSnapshot, proxy: Proxy, scope: Scope, number: int) -> tuple[Recipe, ...]:
    """The listener `0.0.0.0_<port>` and the route table of a port."""
    key = (port_recipes, scope, number)
    if key not in snapshot.memo:
        snapshot.memo[key] = _contents(snapshot, scope, number)
    has_http, opaque = snapshot.memo[key]
    if not has_http and not opaque:
        return ()
    chains, fallback = _unaddressed(snapshot, proxy, opaque)
    listener = OutboundListener(
        name=f"{ANY_ADDRESS}_{number}",
        address=ANY_ADDRESS,
        port=number,
        reporter=source_reporter(proxy.workloads[0], snapshot.settings.trust_domain),
        table=str(number) if has_http else "",
        paths=snapshot.settings.path_normalization,
        chains=chains,
        fallback=fallback or fallback_route(snapshot, scope),
        server_first=fallback is not None,
        netns=proxy.workloads[0].netns,
    )
    sources = tuple(service.source for service, _ in opaque)
    made = Recipe(LISTENER, listener.name, build_outbound_listener, (listener,), sources)
    return (
        (made, *table_recipes(str(number), unknown_cluster(scope, snapshot.settings.cluster_domain)))
        if has_http
        else (made,)
    )


def _contents(
    snapshot: MeshSnapshot, scope: Scope, number: int
) -> tuple[bool, tuple[tuple[Service, Port], ...]]:
    """Whether HTTP is expected on a port, and the services there that need more than that."""
    has_http = number == HTTP_PORT and any(True for _ in snapshot.unknown_hosts(scope))
    opaque: list[tuple[Service, Port]] = []
    for hostname in sorted(snapshot.hosts_on_port(number)):
        service = snapshot.service(hostname, scope)
        port = service.port(number) if service is not None else None
        if service is None or port is None or not scope.sees_port(service, number):
            continue
        has_http = has_http or carries_http(port)
        if may_be_opaque(port) and not _has_own_listener(service):
            opaque.append((service, port))
    return has_http, tuple(opaque)


def _has_own_listener(service: Service) -> bool:
    """Has a service addresses (a headless one: those of its endpoints) that tell its connections apart?"""
    return service.headless or any(is_single_address(address) for address in service.addresses)


def _unaddressed(
    snapshot: MeshSnapshot, proxy: Proxy, opaque: Iterable[tuple[Service, Port]]
) -> tuple[tuple[TcpChain, ...], TcpRoute | None]:
    """Chains for services without a virtual IP of their own: TLS by its host, else by subnet, else the
    first of them (by hostname) has the port."""
    chains: list[TcpChain] = []
    fallback: TcpRoute | None = None
    for service, port in opaque:
        subnets = tuple(item for item in service.addresses if not is_single_address(item))
        for chain in service_chains(snapshot, proxy, service, port):
            if port.protocol in _TLS and not chain.sni_hosts:
                chain = replace(chain, sni_hosts=(service.hostname,))
            if subnets and not chain.destination_subnets:
                chain = replace(chain, destination_subnets=subnets)
            if not chain.is_catch_all:
                chains.append(chain)
            elif fallback is None:
                fallback = chain.route
    return disjoint(chains), fallback


def address_recipes(
    snapshot: MeshSnapshot, proxy: Proxy, scope: Scope, address: str, number: int
) -> tuple[Recipe, ...]:
    """The listener `<virtual IP>_<port>` of services that may carry something else than HTTP."""
    found = list(_services_at(snapshot, scope, address, number))
    if not found:
        return ()
    chains: list[TcpChain] = []
    fallback: TcpRoute | None = None
    for service, port in found:
        for chain in service_chains(snapshot, proxy, service, port):
            if len(found) > 1 and port.protocol in _TLS and not chain.sni_hosts:
                chain = replace(chain, sni_hosts=(service.hostname,))
            if not chain.is_catch_all:
                chains.append(chain)
            elif fallback is None:
                fallback = chain.route
    detects = any(port.protocol is Protocol.AUTO for _, port in found)
    listener = OutboundListener(
        name=f"{address}_{number}",
        address=address,
        port=number,
        reporter=source_reporter(proxy.workloads[0], snapshot.settings.trust_domain),
        table=str(found[0][1].number) if detects else "",
        paths=snapshot.settings.path_normalization,
        chains=disjoint(chains),
        fallback=fallback or fallback_route(snapshot, scope),
        server_first=True,
        netns=proxy.workloads[0].netns,
    )
    sources = tuple(service.source for service, _ in found)
    return (Recipe(LISTENER, listener.name, build_outbound_listener, (listener,), sources),)


def _services_at(
    snapshot: MeshSnapshot, scope: Scope, address: str, number: int
) -> Iterator[tuple[Service, Port]]:
    for hostname in sorted(snapshot.hosts_at(address, number)):
        service = snapshot.service(hostname, scope)
        if service is None:
            continue
        if service.headless:
            names = {
                item.service_port
                for item in snapshot.all_endpoints(service)
                if (item.address, item.port) == (address, number)
            }
            ports = [port for port in service.ports if port.name in names]
        else:
            ports = [port for port in service.ports if port.number == number]
        seen = (port for port in ports if scope.sees_port(service, port.number))
        yield from ((service, port) for port in itertools.islice(seen, 1) if may_be_opaque(port))


def service_chains(
    snapshot: MeshSnapshot, proxy: Proxy, service: Service, port: Port
) -> tuple[TcpChain, ...]:
    """A chain for each `tcp` or `tls` rule, then what no rule is for."""
    return tuple(_chain(route) for route in l4_routes(snapshot, proxy, service, port))


def _chain(route: L4Route) -> TcpChain:
    return TcpChain(
        TcpRoute(route.clusters, route.settings),
        route.sni_hosts,
        route.destination_subnets,
        route.source_subnets,
    )
