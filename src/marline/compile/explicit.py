"""Explicit capture: a loopback listener for each declared upstream, and an HTTP proxy."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from marline.compile.outbound import service_chains
from marline.compile.outbound_listener import OutboundListener, build_outbound_listener
from marline.compile.passthrough import build_tunnel_host, table_recipes, unknown_cluster
from marline.compile.resource import LISTENER, VIRTUAL_HOST, Recipe
from marline.compile.routes import (
    HTTP_PROXY,
    carries_http,
    l4_routes,
    unknown_upstream_recipe,
    upstream_route_recipe,
)
from marline.compile.routes_domains import with_port
from marline.compile.routes_l4 import L4Route
from marline.compile.routes_lookup import domain_names
from marline.compile.telemetry import source_reporter
from marline.mesh.hosts import host_matches
from marline.mesh.model import Protocol, Proxy, Service, Upstream
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.visibility import Scope

LOOPBACK: Final = "127.0.0.1"


def upstream_recipes(
    snapshot: MeshSnapshot, proxy: Proxy, scope: Scope, upstream: Upstream
) -> tuple[Recipe, ...]:
    """The listener `explicit_<port>` for one upstream, and its routes. There is none while the mesh has
    no such service, and no rule for such a host, so that connections are refused at once."""
    workload = proxy.workloads[0]
    hostname = snapshot.resolve_host(upstream.host, workload.namespace)
    service = snapshot.service(hostname, scope)
    if service is None and snapshot.is_unknown(hostname, scope):
        return _unknown_upstream_recipes(snapshot, proxy, upstream, hostname)
    port = service.port(upstream.port) if service is not None else None
    if service is None or port is None or port.protocol is Protocol.UDP:
        return ()
    if not scope.sees_port(service, port.number):
        return ()
    table = upstream_route_recipe(snapshot, proxy, upstream, service)
    chains = () if port.protocol.is_http else service_chains(snapshot, proxy, service, port)
    fallback = next((chain.route for chain in chains if chain.is_catch_all), None)
    listener = replace(
        _listener(snapshot, proxy, upstream, table),
        chains=tuple(chain for chain in chains if not chain.is_catch_all),
        fallback=fallback,
        server_first=True,
    )
    made = Recipe(LISTENER, listener.name, build_outbound_listener, (listener,), (service.source,))
    return (made, table) if table is not None else (made,)


def _unknown_upstream_recipes(
    snapshot: MeshSnapshot, proxy: Proxy, upstream: Upstream, hostname: str
) -> tuple[Recipe, ...]:
    """For a host that only a VirtualService names: it has port 80, and nothing but rules."""
    table = unknown_upstream_recipe(snapshot, proxy, upstream, hostname)
    if table is None:
        return ()
    listener = _listener(snapshot, proxy, upstream, table)
    return (Recipe(LISTENER, listener.name, build_outbound_listener, (listener,), table.sources), table)


def _listener(
    snapshot: MeshSnapshot, proxy: Proxy, upstream: Upstream, table: Recipe | None
) -> OutboundListener:
    return OutboundListener(
        name=f"explicit_{upstream.listen}",
        address=proxy.bind_address or LOOPBACK,
        port=upstream.listen,
        reporter=source_reporter(proxy.workloads[0], snapshot.settings.trust_domain),
        table=table.name if table is not None else "",
        paths=snapshot.settings.path_normalization,
        bind=True,
    )


def http_proxy_recipes(snapshot: MeshSnapshot, proxy: Proxy, scope: Scope) -> tuple[Recipe, ...]:
    """The listener `http_proxy`: it routes by the host that a request names (HTTP_PROXY)."""
    workload = proxy.workloads[0]
    if not workload.http_proxy_port:
        return ()
    listener = OutboundListener(
        name=HTTP_PROXY,
        address=proxy.bind_address or LOOPBACK,
        port=workload.http_proxy_port,
        reporter=source_reporter(workload, snapshot.settings.trust_domain),
        table=HTTP_PROXY,
        paths=snapshot.settings.path_normalization,
        bind=True,
        forward_proxy=True,
    )
    made = Recipe(LISTENER, HTTP_PROXY, build_outbound_listener, (listener,))
    return (made, *table_recipes(HTTP_PROXY, unknown_cluster(scope, snapshot.settings.cluster_domain)))


def tunnel_recipes(snapshot: MeshSnapshot, proxy: Proxy, service: Service) -> Iterator[Recipe]:
    """What the HTTP proxy needs so that CONNECT reaches a service's ports that carry no HTTP, or where `tls`
    and `tcp` rules send their connections."""
    names = (service.hostname, *domain_names(snapshot, proxy, service), *service.addresses)
    for port in service.ports:
        if carries_http(port) or port.protocol is Protocol.UDP:
            continue
        name = f"{HTTP_PROXY}/{with_port(service.hostname, port.number)}"
        domains = tuple(with_port(item, port.number) for item in names if "/" not in item)
        route = _tunnelled(l4_routes(snapshot, proxy, service, port), service.hostname)
        sources = (service.source, *((route.source,) if route.source is not None else ()))
        inputs = (name, domains, route.clusters)
        yield Recipe(VIRTUAL_HOST, name, build_tunnel_host, inputs, tuple(dict.fromkeys(sources)))


def _tunnelled(routes: tuple[L4Route, ...], hostname: str) -> L4Route:
    """The route of a tunnel: what is asked for by name is what the SNI in it will say. Of subnets nothing is
    known, since no address is called; the last route is the service's own."""
    fitting = [
        (max((len(name) for name in route.sni_hosts if host_matches(name, hostname)), default=0), route)
        for route in routes
        if not (route.destination_subnets or route.source_subnets)
        and (not route.sni_hosts or any(host_matches(name, hostname) for name in route.sni_hosts))
    ]
    return max(fitting, key=lambda pair: pair[0])[1]
