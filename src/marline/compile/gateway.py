"""Gateways: from the servers that select a gateway's proxy to its listeners, route tables and Secrets.

Servers come from Istio's Gateway (`gateway_istio`) and the Gateway API's (`gateway_api`); here they
are sorted into listeners. Two servers that want the same connections cannot both have them: the one
of the older resource does (`gateway_conflicts`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from marline.api.networking.gateway import UNIX
from marline.api.resource import Ref
from marline.compile.backend_tls import client_certificate
from marline.compile.gateway_api import api_servers
from marline.compile.gateway_conflicts import Conflict, sort_out
from marline.compile.gateway_istio import istio_servers
from marline.compile.gateway_listener import Chain, build_listener
from marline.compile.gateway_lookup import secret_recipes
from marline.compile.gateway_server import HostTable, Kind, Server, listen_port, merge_hosts
from marline.compile.gateway_table import build_table, table_limiters, table_sources
from marline.compile.gateway_tls import Termination
from marline.compile.gateway_udp import build_udp_listener
from marline.compile.rate_limits import limit_filters
from marline.compile.resource import LISTENER, ROUTE, Recipe
from marline.compile.routes_l4 import disjoint
from marline.compile.telemetry import Reporter, source_reporter
from marline.mesh.gateways import serving
from marline.mesh.model import Proxy
from marline.mesh.snapshot import MeshSnapshot

ANY_ADDRESS = "0.0.0.0"  # noqa: S104 (an ingress is for the network; a proxy may be given less)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a listener is: an address and port, or a Unix socket and 0."""

    address: str
    port: int
    also: str = ""
    """A second address with this port."""
    datagrams: bool = False
    """UDP, whose ports are others than those of TCP."""

    @property
    def listener(self) -> str:
        if self.address.startswith(UNIX):
            return self.address
        return f"{'udp_' if self.datagrams else ''}{self.address}_{self.port}"


@dataclass(frozen=True, slots=True)
class GatewayPlan:
    """What a gateway's proxy serves, and what it had to leave out."""

    places: tuple[tuple[Place, tuple[Server, ...]], ...]
    """The servers of each listener, those of the oldest resource first."""
    conflicts: tuple[Conflict, ...]


def gateway_plan(snapshot: MeshSnapshot, proxy: Proxy) -> GatewayPlan:
    """The servers of a gateway's proxy, by listener."""
    key = (gateway_plan, proxy)
    found: GatewayPlan | None = snapshot.memo.get(key)
    if found is None:
        found = snapshot.memo[key] = _plan(snapshot, proxy)
    return found


def _plan(snapshot: MeshSnapshot, proxy: Proxy) -> GatewayPlan:
    groups: dict[Place, list[Server]] = {}
    for server in (*istio_servers(snapshot, proxy), *api_servers(snapshot, proxy)):
        groups.setdefault(_place(proxy, server), []).append(server)
    sorted_out = {place: sort_out(group) for place, group in groups.items()}
    ordered = sorted(sorted_out.items(), key=lambda item: (item[0].port, item[0].address))
    return GatewayPlan(
        tuple((place, served) for place, (served, _) in ordered),
        tuple(conflict for _, (_, conflicts) in ordered for conflict in conflicts),
    )


def _place(proxy: Proxy, server: Server) -> Place:
    if server.bind.startswith(UNIX):
        return Place(server.bind, 0)
    port = listen_port(proxy, server.number)
    if server.bind:
        return Place(server.bind, port)
    return Place(
        proxy.bind_address or ANY_ADDRESS, port, proxy.mesh_address, datagrams=server.kind is Kind.UDP
    )


def gateway_recipes(snapshot: MeshSnapshot, proxy: Proxy) -> tuple[Recipe, ...]:
    """All listeners, route configurations and Secrets of a gateway's proxy."""
    reporter = source_reporter(proxy.workloads[0], snapshot.settings.trust_domain)
    plan = gateway_plan(snapshot, proxy)
    recipes: list[Recipe] = []
    for place, servers in plan.places:
        recipes.extend(_place_recipes(place, servers, reporter))
    used = (server for _, servers in plan.places for server in servers)
    terminations = ((item.termination, item.source) for item in used if item.termination is not None)
    recipes.extend(secret_recipes(snapshot, (*terminations, *_shown_to_backends(snapshot, proxy))))
    return tuple(recipes)


def _shown_to_backends(snapshot: MeshSnapshot, proxy: Proxy) -> Iterable[tuple[Termination, Ref]]:
    """The certificate that the proxy shows to backends, which is delivered as those of its servers are."""
    name = client_certificate(snapshot, proxy)
    for gateway in serving(snapshot, proxy) if name else ():
        yield Termination((name,)), gateway.ref
        return


def _place_recipes(place: Place, servers: tuple[Server, ...], reporter: Reporter) -> Iterable[Recipe]:
    name = place.listener
    sources = tuple(dict.fromkeys(server.source for server in servers))
    if place.datagrams:
        route = servers[0].l4[0]
        inputs = (name, place.address, place.port, route.clusters, place.also, route.settings.by_source)
        yield Recipe(LISTENER, name, build_udp_listener, inputs, sources)
        return
    chains, tables = port_contents(servers)
    if not chains:
        return
    yield Recipe(
        LISTENER,
        name,
        build_listener,
        (name, place.address, place.port, chains, reporter, place.also),
        sources,
    )
    for table, hosts in tables:
        refs = tuple(dict.fromkeys((*table_sources(hosts), *sources)))
        yield Recipe(ROUTE, table, build_table, (table, hosts), refs)


def port_contents(
    servers: Sequence[Server],
) -> tuple[tuple[Chain, ...], list[tuple[str, tuple[HostTable, ...]]]]:
    """The filter chains of one port, and the route tables that they refer to."""
    if servers[0].kind is Kind.HTTP:
        name = servers[0].table
        hosts = merge_hosts(host for server in servers for host in server.hosts)
        prefix = next((server.stat_prefix for server in servers if server.stat_prefix), "")
        grpc_web = any(server.grpc_web for server in servers)
        limits = limit_filters(table_limiters(hosts))
        chain = Chain(name=name, table=name, stat_prefix=prefix, grpc_web=grpc_web, limits=limits)
        return (chain,), [(name, hosts)]
    chains = disjoint(chain for server in servers for chain in _chains(server))
    used = {chain.table for chain in chains}
    tables = [(server.table, merge_hosts(server.hosts)) for server in servers if server.table in used]
    return chains, [item for item in tables if item[0]]


def _chains(server: Server) -> Iterable[Chain]:
    name = f"{server.source.namespace}/{server.source.name}/{server.name}"
    whole = Chain(name=name, sni_hosts=server.sni_hosts, stat_prefix=server.stat_prefix)
    if server.kind is Kind.AUTO_PASSTHROUGH:
        yield replace(whole, to_named_cluster=True)
    elif server.kind in (Kind.HTTPS, Kind.TLS) and server.termination is None:
        yield whole
    elif server.kind is Kind.HTTPS:
        limits = limit_filters(table_limiters(server.hosts))
        yield replace(whole, termination=server.termination, table=server.table, limits=limits)
    else:
        for index, route in enumerate(server.l4):
            yield replace(
                whole,
                name=f"{name}/{index}",
                sni_hosts=route.sni_hosts or server.sni_hosts,
                destination_subnets=route.destination_subnets,
                source_subnets=route.source_subnets,
                termination=server.termination,
                clusters=route.clusters,
                settings=route.settings,
            )
