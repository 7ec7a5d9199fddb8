"""A gateway's listeners, route configurations and Secrets; and host by host what it routes.

What a gateway listens to (`gateway_plan`) is kept from one change of routes to the next, and the virtual
hosts of its tables are resources of their own, so one changed route costs what its hosts cost.
"""

from collections.abc import Iterable, Iterator, Sequence

from marline.api.gateway_api.shared import GROUP
from marline.api.resource import Ref
from marline.compile.authorization import authorization
from marline.compile.backend_tls import client_certificate
from marline.compile.gateway_hosts import ANY
from marline.compile.gateway_listener import Demands, build_listener
from marline.compile.gateway_lookup import secret_recipes
from marline.compile.gateway_plan import PlannedListener, Routing, gateway_plan
from marline.compile.gateway_server import HostTable, meant_by, merge_hosts
from marline.compile.gateway_table import build_host, build_table, host_name, host_sources
from marline.compile.gateway_tls import Termination
from marline.compile.gateway_udp import build_udp_listener
from marline.compile.passthrough import placeholder_recipe
from marline.compile.request_authentication import authentication
from marline.compile.resource import LISTENER, ROUTE, VIRTUAL_HOST, Recipe
from marline.compile.telemetry import Reporter, source_reporter
from marline.mesh.gateway_routes import server_names
from marline.mesh.gateways import serving
from marline.mesh.hosts import host_matches, patterns_for
from marline.mesh.model import Proxy
from marline.mesh.rules import ISTIO_GATEWAY
from marline.mesh.snapshot import MeshSnapshot


def gateway_recipes(snapshot: MeshSnapshot, proxy: Proxy) -> tuple[Recipe, ...]:
    """The listeners of a gateway's proxy, its route configurations without their hosts, and its Secrets."""
    reporter = source_reporter(proxy.workloads[0], snapshot.settings.trust_domain)
    listeners = gateway_plan(snapshot, proxy).listeners
    accepted = authentication(snapshot, proxy, proxy.workloads[0])
    allowed = authorization(snapshot, proxy, proxy.workloads[0])
    settings = snapshot.settings
    recipes: list[Recipe] = []
    for listener in listeners:
        port = listener.place.port
        known = tuple(dict.fromkeys((*meant_by(proxy, port), port))) if allowed.policies and port else ()
        demands = Demands(
            accepted.rules if listener.tables else (),
            allowed,
            known,
            settings.path_normalization,
            settings.trusted_proxies,
            settings.proxy_protocol,
        )
        sources = (*(accepted.sources if listener.tables else ()), *allowed.sources)
        recipes.extend(_listener_recipes(listener, reporter, demands, sources))
    used = (server for listener in listeners for server in listener.servers)
    terminations = ((item.termination, item.source) for item in used if item.termination is not None)
    recipes.extend(secret_recipes(snapshot, (*terminations, *_shown_to_backends(snapshot, proxy))))
    return tuple(recipes)


def _shown_to_backends(snapshot: MeshSnapshot, proxy: Proxy) -> Iterable[tuple[Termination, Ref]]:
    """The certificate that the proxy shows to backends, which is delivered as those of its servers are."""
    name = client_certificate(snapshot, proxy)
    for gateway in serving(snapshot, proxy) if name else ():
        yield Termination((name,)), gateway.ref
        return


def _listener_recipes(
    planned: PlannedListener, reporter: Reporter, demands: Demands, policies: tuple[Ref, ...]
) -> Iterator[Recipe]:
    place = planned.place
    name = place.listener
    sources = tuple(dict.fromkeys(server.source for server in planned.servers))
    if place.datagrams:
        route = planned.servers[0].l4[0]
        inputs = (name, place.address, place.port, route.clusters, place.also, route.settings.by_source)
        yield Recipe(LISTENER, name, build_udp_listener, inputs, sources)
    if not planned.chains:
        return
    listens = (name, place.address, place.port, planned.chains, reporter, place.also, demands)
    yield Recipe(LISTENER, name, build_listener, listens, (*sources, *policies))
    for table in planned.tables:
        refs = tuple(dict.fromkeys((*(limiter.ref for limiter in table.limiters), *table.sources)))
        yield Recipe(ROUTE, table.name, build_table, (table.name, table.limiters, table.misdirected), refs)
        yield placeholder_recipe(table.name)


def gateway_host_recipes(snapshot: MeshSnapshot, proxy: Proxy, host: str) -> tuple[Recipe, ...]:
    """The virtual hosts for exactly this host (which may be a wildcard), in each table that has any."""
    tables: dict[str, list[Routing]] = {}
    routing = gateway_plan(snapshot, proxy).routing
    for name in patterns_for(host):
        for item in routing.get(name, ()):
            tables.setdefault(item.table.name, []).append(item)
    made = (_host_recipe(snapshot, proxy, host, found) for found in tables.values())
    return tuple(recipe for recipe in made if recipe is not None)


def _host_recipe(
    snapshot: MeshSnapshot, proxy: Proxy, host: str, routing: Sequence[Routing]
) -> Recipe | None:
    """In one table."""
    table = routing[0].table
    found: list[HostTable] = []
    servers: dict[Ref, None] = {}
    ranked = {item.rank: item for item in routing}
    for _, item in sorted(ranked.items()):
        own = list(item.routes.tables(snapshot, proxy, host))
        found.extend(own)
        if own:
            servers[item.source] = None
    if not found:
        return None
    (merged,) = merge_hosts(found)
    sources = tuple(dict.fromkeys((*host_sources(merged), *servers)))
    inputs = (table.name, merged, table.limiters)
    return Recipe(VIRTUAL_HOST, host_name(table.name, host), build_host, inputs, sources)


def gateway_hosts(snapshot: MeshSnapshot) -> frozenset[str]:
    """Every host (also wildcards) that some gateway may route."""
    found: frozenset[str] | None = snapshot.memo.get(gateway_hosts)
    if found is None:
        routed = {host for table in (snapshot.rules.bound, snapshot.rules.attached) for _, host in table}
        kinds = (ISTIO_GATEWAY, (GROUP, "Gateway"), (GROUP, "ListenerSet"))
        servers = (item for kind in kinds for item in snapshot.resources(*kind))
        named = {name for item in servers for name in server_names(item)}
        found = snapshot.memo[gateway_hosts] = frozenset(routed | named)
    return found


def touched_hosts(snapshot: MeshSnapshot, proxy: Proxy, changed: Iterable[str]) -> Iterator[str]:
    """The hosts of a gateway's tables that may differ when what is routed for some hosts does: a server has
    what is for more hosts than it is for under its own name."""
    for host in changed:
        yield host
        if host.startswith(ANY):
            yield from (name for name in gateway_plan(snapshot, proxy).routing if host_matches(host, name))
