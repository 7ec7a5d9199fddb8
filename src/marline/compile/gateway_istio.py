"""Istio's Gateway: which servers a proxy has, and what VirtualServices route there.

Behaviour: istio.io, Gateway reference, and VirtualService reference (`hosts`, `gateways`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from marline.api.networking.gateway import OPAQUE, PLAIN_HTTP, GatewaySpec
from marline.api.networking.gateway import Server as ServerSpec
from marline.api.networking.virtual_service import VirtualServiceSpec
from marline.api.resource import Resource
from marline.compile.gateway_credentials import termination_of
from marline.compile.gateway_hosts import ANY, common_host, namespace_allows, split_server_host
from marline.compile.gateway_limits import route_limiters
from marline.compile.gateway_lookup import bound_virtual_services, istio_gateways
from marline.compile.gateway_passthrough import mesh_names
from marline.compile.gateway_server import HostTable, Kind, Server
from marline.compile.routes_active import Side
from marline.compile.routes_l4 import L4Route, tcp_rules, tls_rules
from marline.compile.routes_lookup import l4_route, rule_set, source_labels, source_namespace
from marline.mesh.hosts import possible_hosts
from marline.mesh.model import Proxy
from marline.mesh.snapshot import MeshSnapshot


def istio_servers(snapshot: MeshSnapshot, proxy: Proxy) -> Iterator[Server]:
    """The servers of all Gateways that select a proxy, those of the oldest Gateway first."""
    for gateway in istio_gateways(snapshot, proxy):
        name = f"{gateway.namespace}/{gateway.name}"
        bound = bound_virtual_services(snapshot, name, source_namespace(proxy))
        for server in gateway.spec.servers:
            yield _server(snapshot, proxy, gateway, server, bound)


def _server(
    snapshot: MeshSnapshot,
    proxy: Proxy,
    gateway: Resource[GatewaySpec],
    server: ServerSpec,
    bound: list[Resource[VirtualServiceSpec]],
) -> Server:
    kind = server_kind(server)
    number = server.port.number
    names = tuple(dict.fromkeys(split_server_host(host)[1].lower() for host in server.hosts))
    side = Side(
        number,
        f"{gateway.namespace}/{gateway.name}",
        source_labels(proxy),
        source_namespace(proxy),
        tls=kind is Kind.HTTPS,
    )
    common: dict[str, Any] = {
        "kind": kind,
        "number": number,
        "source": gateway.ref,
        "name": server.name or server.port.name,
        "bind": server.bind,
        "stat_prefix": server.name,
        "grpc_web": server.port.protocol.upper() == "GRPC-WEB",
    }
    if kind in (Kind.HTTP, Kind.HTTPS):
        common["hosts"] = tuple(_host_tables(snapshot, gateway, server, bound, side))
        common["table"] = table_name(gateway, server)
    elif kind is not Kind.AUTO_PASSTHROUGH:
        common["l4"] = tuple(_l4_routes(snapshot, gateway, server, bound, side))
    if kind in (Kind.HTTPS, Kind.TLS) and server.tls is not None:
        places = (source_namespace(proxy), gateway.namespace)
        common["termination"], common["faults"] = termination_of(
            snapshot, places, server.tls, forwards_bytes=kind is Kind.TLS
        )
        common["sni_hosts"] = () if ANY in names else names
    if kind is Kind.AUTO_PASSTHROUGH:
        common["sni_hosts"] = tuple(mesh_names(name) for name in names)
    return Server(**common)


def server_kind(server: ServerSpec) -> Kind:
    protocol = server.port.protocol.upper()
    if protocol in PLAIN_HTTP:
        return Kind.HTTP
    if protocol in OPAQUE or server.tls is None:
        return Kind.TCP
    if server.tls.mode in ("PASSTHROUGH", "AUTO_PASSTHROUGH"):
        return Kind[server.tls.mode]
    return Kind.HTTPS if protocol == "HTTPS" else Kind.TLS


def table_name(gateway: Resource[GatewaySpec], server: ServerSpec) -> str:
    """As in Istio: plain HTTP servers of one port share a route table, HTTPS servers have their own."""
    number, bind = server.port.number, f".{server.bind}" if server.bind else ""
    if server_kind(server) is Kind.HTTP:
        return f"http.{number}{bind}"
    return f"https.{number}.{server.port.name}.{gateway.name}.{gateway.namespace}{bind}"


def _host_tables(
    snapshot: MeshSnapshot,
    gateway: Resource[GatewaySpec],
    server: ServerSpec,
    bound: list[Resource[VirtualServiceSpec]],
    side: Side,
) -> Iterator[HostTable]:
    redirect = server.tls is not None and server.tls.https_redirect
    for virtual_service in bound:
        hosts = list(_common_hosts(gateway, server, virtual_service, snapshot.settings.cluster_domain))
        if not hosts or not virtual_service.spec.http:
            continue
        rules = rule_set(snapshot, virtual_service, side)
        if snapshot.rules.policies:
            outer = (gateway.ref, server.name or server.port.name)
            limiters = route_limiters(snapshot, rules.written_in(), virtual_service.ref, outer)
            rules = replace(rules, limiters=limiters)
        for host in hosts:
            yield HostTable(host, (rules,), require_tls=redirect)
    if redirect:
        for server_host in server.hosts:
            yield HostTable(split_server_host(server_host)[1].lower(), require_tls=True)


def _common_hosts(
    gateway: Resource[GatewaySpec],
    server: ServerSpec,
    virtual_service: Resource[VirtualServiceSpec],
    domain: str,
) -> Iterable[str]:
    """The hosts that a VirtualService and a server both name, each once; `domain` is the cluster's."""
    found: dict[str, None] = {}
    for server_host in server.hosts:
        selector, name = split_server_host(server_host)
        if not namespace_allows(selector, gateway.namespace, virtual_service.namespace):
            continue
        for host in virtual_service.spec.hosts:
            common = common_host(name, possible_hosts(host, virtual_service.namespace, domain)[0])
            if common is not None:
                found[common] = None
    return found


def _l4_routes(
    snapshot: MeshSnapshot,
    gateway: Resource[GatewaySpec],
    server: ServerSpec,
    bound: list[Resource[VirtualServiceSpec]],
    side: Side,
) -> Iterator[L4Route]:
    kind = server_kind(server)
    for virtual_service in bound:
        shared = list(_common_hosts(gateway, server, virtual_service, snapshot.settings.cluster_domain))
        if not shared:
            continue
        rules = (
            tls_rules(virtual_service, side) if kind is Kind.PASSTHROUGH else tcp_rules(virtual_service, side)
        )
        for rule in rules:
            names = _common_names(shared, rule.sni_hosts) if kind is Kind.PASSTHROUGH else ()
            if kind is Kind.PASSTHROUGH and not names:
                continue
            sni_hosts = () if ANY in names else names
            yield l4_route(snapshot, virtual_service, side, rule, sni_hosts)


def _common_names(hosts: Iterable[str], sni_hosts: tuple[str, ...]) -> tuple[str, ...]:
    pairs = ((host, sni) for sni in sni_hosts or (ANY,) for host in hosts)
    return tuple(dict.fromkeys(name for host, sni in pairs if (name := common_host(host, sni))))
