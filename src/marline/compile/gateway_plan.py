"""What a gateway's proxy listens to, and who routes there: all that does not follow from routes of requests.

Servers come from Istio's Gateway (`gateway_istio`) and the Gateway API's (`gateway_api`); here they
are sorted into listeners. Two servers that want the same connections cannot both have them: the one
of the older resource does (`gateway_conflicts`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from marline.api.networking.gateway import UNIX
from marline.api.resource import Ref
from marline.compile.gateway_api import api_servers
from marline.compile.gateway_conflicts import Conflict, sort_out
from marline.compile.gateway_istio import istio_servers
from marline.compile.gateway_listener import Chain
from marline.compile.gateway_server import HostRoutes, Kind, Server, listen_port
from marline.compile.rate_limits import LimitFilter, RateLimiter, limit_filters
from marline.compile.routes_l4 import disjoint
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
class Table:
    """A route table, without its hosts."""

    name: str
    sources: tuple[Ref, ...]
    """The resources that its servers are written in."""
    limiters: tuple[RateLimiter, ...]
    """The rate limits that may count for some of its routes."""
    misdirected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlannedListener:
    """What one listener is made of."""

    place: Place
    servers: tuple[Server, ...]
    """Those of the oldest resource first."""
    chains: tuple[Chain, ...]
    tables: tuple[Table, ...]


class Routing(NamedTuple):
    """Who routes for the hosts of a name."""

    rank: int
    """Among the servers of a table, those of the oldest resource come first."""
    table: Table
    source: Ref
    routes: HostRoutes


@dataclass(frozen=True, slots=True)
class GatewayPlan:
    """What a gateway's proxy serves, and what it had to leave out."""

    listeners: tuple[PlannedListener, ...]
    conflicts: tuple[Conflict, ...]
    routing: Mapping[str, tuple[Routing, ...]]
    """By each of the names (also wildcards) that servers are for."""


def gateway_plan(snapshot: MeshSnapshot, proxy: Proxy) -> GatewayPlan:
    """That of a gateway's proxy; a change of what is routed leaves it as it is."""
    key = (gateway_plan, proxy)
    found: GatewayPlan | None = snapshot.kept.get(key)
    if found is None:
        found = snapshot.kept[key] = _plan(snapshot, proxy)
    return found


def _plan(snapshot: MeshSnapshot, proxy: Proxy) -> GatewayPlan:
    groups: dict[Place, list[Server]] = {}
    for server in (*istio_servers(snapshot, proxy), *api_servers(snapshot, proxy)):
        groups.setdefault(_place(proxy, server), []).append(server)
    listeners: list[PlannedListener] = []
    conflicts: list[Conflict] = []
    routing: dict[str, list[Routing]] = {}
    for place, group in sorted(groups.items(), key=lambda item: (item[0].port, item[0].address)):
        served, lost = sort_out(group)
        conflicts.extend(lost)
        by_table = tables_of(served)
        tables = {name: _table(snapshot, proxy, name, servers) for name, servers in by_table.items()}
        limits = {name: limit_filters(table.limiters) for name, table in tables.items()}
        chains = () if place.datagrams else filter_chains(served, limits)
        used = {chain.table for chain in chains}
        tables = {name: table for name, table in tables.items() if name in used}
        listeners.append(PlannedListener(place, served, chains, tuple(tables.values())))
        for name, table in tables.items():
            _add_routing(routing, table, by_table[name])
    return GatewayPlan(
        tuple(listeners), tuple(conflicts), {name: tuple(found) for name, found in routing.items()}
    )


def _add_routing(routing: dict[str, list[Routing]], table: Table, servers: Iterable[Server]) -> None:
    for rank, server in enumerate(servers):
        if server.routes is not None:
            for name in server.routes.names:
                routing.setdefault(name, []).append(Routing(rank, table, server.source, server.routes))


def _place(proxy: Proxy, server: Server) -> Place:
    if server.bind.startswith(UNIX):
        return Place(server.bind, 0)
    port = listen_port(proxy, server.number)
    if server.bind:
        return Place(server.bind, port)
    return Place(
        proxy.bind_address or ANY_ADDRESS, port, proxy.mesh_address, datagrams=server.kind is Kind.UDP
    )


def tables_of(servers: Sequence[Server]) -> dict[str, list[Server]]:
    """The route tables of one listener's servers: those for plain HTTP share one."""
    found: dict[str, list[Server]] = {}
    for server in servers:
        if server.kind is Kind.HTTP:
            found.setdefault(servers[0].table, []).append(server)
        elif server.kind is Kind.HTTPS and server.termination is not None:
            found.setdefault(server.table, []).append(server)
    return found


def _table(snapshot: MeshSnapshot, proxy: Proxy, name: str, servers: Iterable[Server]) -> Table:
    sources: dict[Ref, None] = {}
    limiters: dict[RateLimiter, None] = {}
    misdirected: dict[str, None] = {}
    for server in servers:
        sources[server.source] = None
        misdirected.update(dict.fromkeys(server.misdirected))
        if server.routes is not None and snapshot.rules.policies:
            limiters.update(dict.fromkeys(server.routes.limiters(snapshot, proxy)))
    return Table(name, tuple(sources), tuple(limiters), tuple(misdirected))


def filter_chains(
    servers: Sequence[Server], limits: Mapping[str, tuple[LimitFilter, ...]]
) -> tuple[Chain, ...]:
    """The filter chains of one listener; `limits` are the filters that its tables need."""
    if servers[0].kind is Kind.HTTP:
        name = servers[0].table
        prefix = next((server.stat_prefix for server in servers if server.stat_prefix), "")
        grpc_web = any(server.grpc_web for server in servers)
        own = limits.get(name, ())
        return (Chain(name=name, table=name, stat_prefix=prefix, grpc_web=grpc_web, limits=own),)
    return disjoint(chain for server in servers for chain in _chains(server, limits))


def _chains(server: Server, limits: Mapping[str, tuple[LimitFilter, ...]]) -> Iterable[Chain]:
    name = f"{server.source.namespace}/{server.source.name}/{server.name}"
    whole = Chain(name=name, sni_hosts=server.sni_hosts, stat_prefix=server.stat_prefix)
    if server.kind is Kind.AUTO_PASSTHROUGH:
        yield replace(whole, to_named_cluster=True)
    elif server.kind in (Kind.HTTPS, Kind.TLS) and server.termination is None:
        yield whole
    elif server.kind is Kind.HTTPS:
        own = limits.get(server.table, ())
        yield replace(whole, termination=server.termination, table=server.table, limits=own)
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
