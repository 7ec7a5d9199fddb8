"""Gateways: from the servers that select a gateway's proxy to its listeners, route tables and Secrets.

Servers come from Istio's Gateway (`gateway_istio`) and the Gateway API's (`gateway_api`); here they
are sorted into listeners. Two servers that want the same connections cannot both have them: the one
of the older resource does.
"""

from collections.abc import Iterable

from marline.compile.gateway_api import api_servers
from marline.compile.gateway_istio import istio_servers
from marline.compile.gateway_listener import Chain, build_listener
from marline.compile.gateway_lookup import secret_recipes
from marline.compile.gateway_server import HostTable, Kind, Server, listen_port, merge_hosts
from marline.compile.gateway_table import build_table, table_sources
from marline.compile.resource import LISTENER, ROUTE, Recipe
from marline.compile.routes_l4 import disjoint
from marline.compile.telemetry import Reporter, source_reporter
from marline.mesh.model import Proxy
from marline.mesh.snapshot import MeshSnapshot

ANY_ADDRESS = "0.0.0.0"  # noqa: S104 (an ingress is for the network; a proxy may be given less)


def gateway_recipes(snapshot: MeshSnapshot, proxy: Proxy) -> tuple[Recipe, ...]:
    """All listeners, route configurations and Secrets of a gateway's proxy."""
    servers = [*istio_servers(snapshot, proxy), *api_servers(snapshot, proxy)]
    reporter = source_reporter(proxy.workloads[0], snapshot.settings.trust_domain)
    groups: dict[int, list[Server]] = {}
    for server in servers:
        groups.setdefault(listen_port(proxy, server.number), []).append(server)
    recipes: list[Recipe] = []
    used: list[Server] = []
    for port, group in sorted(groups.items()):
        accepted = compatible(group)
        used.extend(accepted)
        recipes.extend(_port_recipes(proxy, port, accepted, reporter))
    recipes.extend(secret_recipes(snapshot, (item.termination for item in used if item.termination)))
    return tuple(recipes)


def compatible(servers: Iterable[Server]) -> list[Server]:
    """The servers that can share a port with the first: all of plain HTTP, or all of TLS, or one TCP."""
    found: list[Server] = []
    for server in servers:
        if not found or (_layer(server) == _layer(found[0]) and server.kind is not Kind.TCP):
            found.append(server)
    return found


def _layer(server: Server) -> str:
    return server.kind.value if server.kind in (Kind.HTTP, Kind.TCP) else "TLS"


def _port_recipes(proxy: Proxy, port: int, servers: list[Server], reporter: Reporter) -> Iterable[Recipe]:
    address = proxy.bind_address or ANY_ADDRESS
    name = f"{address}_{port}"
    sources = tuple(dict.fromkeys(server.source for server in servers))
    chains, tables = port_contents(servers)
    if not chains:
        return
    yield Recipe(LISTENER, name, build_listener, (name, address, port, chains, reporter), sources)
    for table, hosts in tables:
        refs = tuple(dict.fromkeys((*table_sources(hosts), *sources)))
        yield Recipe(ROUTE, table, build_table, (table, hosts), refs)


def port_contents(
    servers: list[Server],
) -> tuple[tuple[Chain, ...], list[tuple[str, tuple[HostTable, ...]]]]:
    """The filter chains of one port, and the route tables that they refer to."""
    if servers[0].kind is Kind.HTTP:
        name = servers[0].table
        hosts = merge_hosts(host for server in servers for host in server.hosts)
        return (Chain(name=name, table=name),), [(name, hosts)]
    chains = disjoint(chain for server in servers for chain in _chains(server))
    used = {chain.table for chain in chains}
    tables = [(server.table, merge_hosts(server.hosts)) for server in servers if server.table in used]
    return chains, [item for item in tables if item[0]]


def _chains(server: Server) -> Iterable[Chain]:
    name = f"{server.source.namespace}/{server.source.name}/{server.name}"
    if server.kind in (Kind.HTTPS, Kind.TLS) and server.termination is None:
        yield Chain(name=name, sni_hosts=server.sni_hosts)
    elif server.kind is Kind.HTTPS:
        yield Chain(name=name, sni_hosts=server.sni_hosts, termination=server.termination, table=server.table)
    else:
        for index, route in enumerate(server.l4):
            yield Chain(
                name=f"{name}/{index}",
                sni_hosts=route.sni_hosts if server.kind is Kind.PASSTHROUGH else server.sni_hosts,
                destination_subnets=route.destination_subnets,
                source_subnets=route.source_subnets,
                termination=server.termination,
                clusters=route.clusters,
                settings=route.settings,
            )
