"""Outbound routes: a virtual host for each port of each service, as a workload's proxy needs it.

A virtual host is a resource of its own (VHDS), so a change of one service's rules sends one virtual
host. What is built from a rule depends on the rule and on the destinations that it names, never on
the rest of the mesh.
"""

from dataclasses import replace
from typing import Final

from marline.api.resource import Ref
from marline.compile.resource import ROUTE, VIRTUAL_HOST, Recipe
from marline.compile.routes_active import MESH, Side
from marline.compile.routes_domains import domains, with_port
from marline.compile.routes_hosts import Rules, build_single_host_table, build_virtual_host
from marline.compile.routes_l4 import L4Route, WeightedTarget, tcp_rules, tls_rules
from marline.compile.routes_l4_order import in_order
from marline.compile.routes_lookup import (
    domain_addresses,
    domain_names,
    l4_route,
    mesh_rules,
    service_target,
    source_labels,
    source_namespace,
    tcp_settings,
)
from marline.compile.routes_targets import outbound_cluster
from marline.compile.service_routes import service_l4_routes, service_routes
from marline.mesh.model import Capture, Port, Protocol, Proxy, Resolution, Service, Upstream
from marline.mesh.snapshot import MeshSnapshot

HTTP_PROXY: Final = "http_proxy"
"""The route configuration of the listener that an application uses as its HTTP proxy."""
HTTP_PORT: Final = 80


def carries_http(port: Port) -> bool:
    """Do requests to this port get routes? Undeclared protocols may turn out to be HTTP."""
    return port.protocol.is_http or port.protocol is Protocol.AUTO


def virtual_host_recipes(snapshot: MeshSnapshot, proxy: Proxy, service: Service) -> tuple[Recipe, ...]:
    """The virtual hosts of a service for a sidecar: `<route configuration>/<fqdn>:<port>` for each
    port that carries HTTP. Route configurations are named by port, in explicit mode `http_proxy`."""
    explicit = proxy.capture is Capture.EXPLICIT
    return tuple(
        virtual_host_recipe(
            snapshot,
            proxy,
            service,
            port,
            HTTP_PROXY if explicit else str(port.number),
            bare=not explicit or port.number == HTTP_PORT,
        )
        for port in service.ports
        if carries_http(port)
    )


def virtual_host_recipe(
    snapshot: MeshSnapshot, proxy: Proxy, service: Service, port: Port, table: str, *, bare: bool
) -> Recipe:
    """The virtual host of a service's port in a route configuration; `bare`: also for the name without
    port."""
    rules = _rules(snapshot, proxy, service, port)
    names = domains(
        service,
        domain_names(snapshot, proxy, service),
        domain_addresses(snapshot, service, port.number),
        port.number,
        bare=bare,
    )
    host = with_port(service.hostname, port.number)
    fallback = service_target(snapshot, source_namespace(proxy), source_labels(proxy), service, port.number)
    return Recipe(
        VIRTUAL_HOST,
        f"{table}/{host}",
        build_virtual_host,
        (f"{table}/{host}", names, rules, fallback, ""),
        _sources(rules, service.source),
    )


def _rules(snapshot: MeshSnapshot, proxy: Proxy, service: Service, port: Port) -> Rules | None:
    """Routes of the Gateway API that are attached to the service, else its VirtualService."""
    attached = service_routes(snapshot, proxy, service, port)
    return attached if attached is not None else mesh_rules(snapshot, proxy, service.hostname, port.number)


def unknown_host_recipes(snapshot: MeshSnapshot, proxy: Proxy, host: str) -> tuple[Recipe, ...]:
    """The virtual host of a VirtualService's host that is no service's: as in Istio it is on port 80."""
    rules = mesh_rules(snapshot, proxy, host, HTTP_PORT)
    if rules is None:
        return ()
    table = HTTP_PROXY if proxy.capture is Capture.EXPLICIT else str(HTTP_PORT)
    name = f"{table}/{with_port(host, HTTP_PORT)}"
    names = (host, with_port(host, HTTP_PORT)) if host != "*" else ("*",)
    inputs = (name, names, rules, None, "")
    return (Recipe(VIRTUAL_HOST, name, build_virtual_host, inputs, rules.sources),)


def unknown_upstream_recipe(
    snapshot: MeshSnapshot, proxy: Proxy, upstream: Upstream, host: str
) -> Recipe | None:
    """The route configuration `explicit_<port>` of a loopback listener for such a host."""
    rules = mesh_rules(snapshot, proxy, host, HTTP_PORT) if upstream.port == HTTP_PORT else None
    if rules is None:
        return None
    name = f"explicit_{upstream.listen}"
    inputs = (name, (with_port(host, HTTP_PORT), ("*",), rules, None, upstream.host))
    return Recipe(ROUTE, name, build_single_host_table, inputs, rules.sources)


def upstream_route_recipe(
    snapshot: MeshSnapshot, proxy: Proxy, upstream: Upstream, service: Service
) -> Recipe | None:
    """The route configuration `explicit_<port>` of a loopback listener that stands for one service
    port; None when the service has no such port, or one that does not carry HTTP."""
    port = service.port(upstream.port)
    if port is None or not carries_http(port):
        return None
    rules = _rules(snapshot, proxy, service, port)
    fallback = service_target(snapshot, source_namespace(proxy), source_labels(proxy), service, port.number)
    name = f"explicit_{upstream.listen}"
    host = with_port(service.hostname, port.number)
    authority = upstream.host if port.number == HTTP_PORT else with_port(upstream.host, port.number)
    inputs = (name, (host, ("*",), rules, fallback, authority))
    return Recipe(ROUTE, name, build_single_host_table, inputs, _sources(rules, service.source))


def l4_routes(snapshot: MeshSnapshot, proxy: Proxy, service: Service, port: Port) -> tuple[L4Route, ...]:
    """Where connections to a port go that carry no readable HTTP: rules by SNI for TLS ports, else `tcp`
    rules; what no rule is for goes to the service. No two have equal conditions."""
    namespace = source_namespace(proxy)
    scope = snapshot.scope(proxy)
    side = Side(port.number, MESH, source_labels(proxy), namespace, scope=scope)
    virtual_service = snapshot.virtual_service(service.hostname, scope)
    routes = service_l4_routes(snapshot, proxy, service, port)
    if virtual_service is not None and not routes:
        is_tls = port.protocol in (Protocol.TLS, Protocol.HTTPS)
        rules = tls_rules(virtual_service, side) if is_tls else tcp_rules(virtual_service, side)
        routes = [l4_route(snapshot, virtual_service, side, rule, rule.sni_hosts) for rule in rules]
    fallback = outbound_cluster(service.hostname, port.number)
    settings = tcp_settings(snapshot, side, service.hostname, port.number)
    own = L4Route((WeightedTarget(fallback, 1),), source=service.source, settings=settings)
    if service.resolution is Resolution.DYNAMIC_DNS:
        by_name = replace(settings, resolve_at=port.number)
        own = replace(own, sni_hosts=(service.hostname,), settings=by_name)
    return in_order([*routes, own])


def _sources(rules: Rules | None, service: Ref) -> tuple[Ref, ...]:
    return (service,) if rules is None else (*rules.sources, service)
