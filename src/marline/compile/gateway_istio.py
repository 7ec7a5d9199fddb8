"""Istio's Gateway: which servers a proxy has, and what VirtualServices route there.

Behaviour: istio.io, Gateway reference, and VirtualService reference (`hosts`, `gateways`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from marline.api.networking.gateway import OPAQUE, PLAIN_HTTP, GatewaySpec
from marline.api.networking.gateway import Server as ServerSpec
from marline.api.networking.virtual_service import VirtualServiceSpec
from marline.api.resource import Ref, Resource
from marline.compile.gateway_credentials import termination_of
from marline.compile.gateway_hosts import ANY, common_host, namespace_allows, split_server_host
from marline.compile.gateway_limits import gateway_limiters, limited_routes, limiters_of, route_limiters
from marline.compile.gateway_lookup import (
    connecting_virtual_services,
    istio_gateways,
    virtual_services_for,
)
from marline.compile.gateway_passthrough import mesh_names
from marline.compile.gateway_server import HostTable, Kind, Server
from marline.compile.rate_limits import RateLimiter
from marline.compile.routes_active import RuleSet, Side
from marline.compile.routes_l4 import L4Route, tcp_rules, tls_rules
from marline.compile.routes_lookup import l4_route, rule_set, source_labels, source_namespace
from marline.mesh.hosts import patterns_for
from marline.mesh.model import Proxy
from marline.mesh.rules import bound_gateways, gateway_hosts_of
from marline.mesh.snapshot import MeshSnapshot

_VIRTUAL_SERVICES: Final = ("networking.istio.io", ("VirtualService",))


def istio_servers(snapshot: MeshSnapshot, proxy: Proxy) -> Iterator[Server]:
    """The servers of all Gateways that select a proxy, those of the oldest Gateway first."""
    for gateway in istio_gateways(snapshot, proxy):
        name = f"{gateway.namespace}/{gateway.name}"
        connecting = connecting_virtual_services(snapshot, name, source_namespace(proxy))
        for server in gateway.spec.servers:
            yield _server(snapshot, proxy, gateway, server, connecting)


def _server(
    snapshot: MeshSnapshot,
    proxy: Proxy,
    gateway: Resource[GatewaySpec],
    server: ServerSpec,
    connecting: list[Resource[VirtualServiceSpec]],
) -> Server:
    kind = server_kind(server)
    number = server.port.number
    selectors = _selectors(server)
    names = tuple(selectors)
    side = Side(
        number,
        f"{gateway.namespace}/{gateway.name}",
        source_labels(proxy),
        source_namespace(proxy),
        tls=kind is Kind.HTTPS,
        scope=snapshot.scope(proxy),
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
        common["routes"] = ServerRoutes(gateway, server, side, selectors)
        common["table"] = table_name(gateway, server)
    elif kind is not Kind.AUTO_PASSTHROUGH:
        common["l4"] = tuple(_l4_routes(snapshot, gateway, server, connecting, side))
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


@dataclass(frozen=True, slots=True, eq=False)
class ServerRoutes:
    """The requests of one server."""

    gateway: Resource[GatewaySpec]
    server: ServerSpec
    side: Side
    selectors: Mapping[str, tuple[str, ...]]
    """By host the namespaces whose VirtualServices may route for it."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.selectors)

    def tables(self, snapshot: MeshSnapshot, proxy: Proxy, host: str) -> Iterator[HostTable]:
        redirect = self.server.tls is not None and self.server.tls.https_redirect
        candidates = virtual_services_for(snapshot, self.side.gateway, self.side.namespace, host)
        for virtual_service in candidates:
            if virtual_service.spec.http and self._has(
                virtual_service, host, snapshot.settings.cluster_domain
            ):
                yield HostTable(host, (self._rules(snapshot, virtual_service),), require_tls=redirect)
        if redirect and host in self.selectors:
            yield HostTable(host, require_tls=True)

    def _has(self, virtual_service: Resource[VirtualServiceSpec], host: str, domain: str) -> bool:
        """Do a VirtualService and this server have exactly this host in common?"""
        names = [
            name
            for name in patterns_for(host)
            for selector in self.selectors.get(name, ())
            if namespace_allows(selector, self.gateway.namespace, virtual_service.namespace)
        ]
        hosts = gateway_hosts_of(virtual_service, domain)
        return any(common_host(name, other) == host for name in names for other in hosts)

    def _rules(self, snapshot: MeshSnapshot, virtual_service: Resource[VirtualServiceSpec]) -> RuleSet:
        rules = rule_set(snapshot, virtual_service, self.side)
        if not snapshot.rules.policies:
            return rules
        limiters = route_limiters(snapshot, rules.written_in(), virtual_service.ref, self._section)
        return replace(rules, limiters=limiters)

    def limiters(self, snapshot: MeshSnapshot, proxy: Proxy) -> Iterator[RateLimiter]:
        yield from gateway_limiters(snapshot, self._section)
        for item in limited_routes(snapshot, *_VIRTUAL_SERVICES):
            roots = (snapshot.resource(ref) for ref in snapshot.rules.delegating.get(item.ref, ()))
            if any(root and self.side.gateway in bound_gateways(root) for root in (item, *roots)):
                yield from limiters_of(snapshot, item.ref)

    @property
    def _section(self) -> tuple[Ref, str]:
        return (self.gateway.ref, self.server.name or self.server.port.name)


def _selectors(server: ServerSpec) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for selector, name in map(split_server_host, server.hosts):
        found[name.lower()] = (*found.get(name.lower(), ()), selector)
    return found


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
        for host in gateway_hosts_of(virtual_service, domain):
            common = common_host(name, host)
            if common is not None:
                found[common] = None
    return found


def _l4_routes(
    snapshot: MeshSnapshot,
    gateway: Resource[GatewaySpec],
    server: ServerSpec,
    connecting: list[Resource[VirtualServiceSpec]],
    side: Side,
) -> Iterator[L4Route]:
    kind = server_kind(server)
    for virtual_service in connecting:
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
