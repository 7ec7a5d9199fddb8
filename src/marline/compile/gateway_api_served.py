"""A Gateway with its listeners, and which routes each listener has: all of them, or those of one host.

Both follow the same decisions. What one host needs is found from an index, so that it costs what is routed
for that host, and not what the Gateway has besides.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from marline.api.gateway_api.gateway import GatewaySpec
from marline.api.gateway_api.shared import GROUP
from marline.api.resource import Ref, Resource
from marline.compile.gateway_api_attach import Route, attach, names_owner, parents_of, route_hosts
from marline.compile.gateway_api_grpc import GRPC_ROUTE, as_http
from marline.compile.gateway_api_listeners import (
    HTTP_ROUTES,
    BoundListener,
    Namespaces,
    attached_sets,
    gateway_listeners,
)
from marline.compile.gateway_hosts import ANY
from marline.compile.gateway_lookup import in_order, namespace_labels
from marline.mesh.gateway_routes import DEFAULT_GATEWAYS, hostnames, overlapping, owner_key
from marline.mesh.hosts import host_matches, patterns_for
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.visibility import age

AttachedRoutes = Mapping[tuple[Ref, str], Mapping[Ref, Route]]
"""The routes of each listener (by `BoundListener.key`), oldest first."""
_Port = tuple[int, str]


@dataclass(frozen=True, slots=True)
class ServedGateway:
    """A Gateway with its listeners."""

    gateway: Resource[GatewaySpec]
    listeners: tuple[BoundListener, ...]
    namespaces: Namespaces
    names: Mapping[_Port, frozenset[str]]
    """The hosts that the listeners of a port and protocol name."""

    def owns(self, bound: BoundListener, host: str) -> bool:
        """Is a host of a listener its own? It belongs to the listener with the narrowest name for it, so that
        the routes of another one, for more hosts, do not count there."""
        names = self.names.get((bound.listener.port, bound.listener.protocol), frozenset())
        return not any(
            name in names and name != bound.hostname and host_matches(bound.hostname, name)
            for name in patterns_for(host)
        )

    def own_hosts(self, bound: BoundListener, route: Route) -> tuple[str, ...]:
        """The hosts of a route that are a listener's own."""
        return tuple(host for host in route_hosts(bound, route.spec) if self.owns(bound, host))

    def parents(self, bound: BoundListener) -> tuple[str, ...]:
        """By what routes of requests name what a listener is written in (`mesh.gateway_routes`)."""
        owner = bound.owner
        named = owner_key(owner.kind, owner.namespace, owner.name)
        is_default = owner.ref == self.gateway.ref and self.gateway.spec.default_scope == "All"
        return (named, DEFAULT_GATEWAYS) if is_default else (named,)

    def attaches(self, bound: BoundListener, route: Route) -> bool:
        """Is a route attached to a listener, as far as other routes let it?"""
        return any(
            attach(route, parent, bound.owner, (bound,), self.namespaces).accepted
            for parent in parents_of(route, (self.gateway,))
            if names_owner(parent, route.namespace, bound.owner)
        )


def gateway_with_listeners(snapshot: MeshSnapshot, gateway: Resource[GatewaySpec]) -> ServedGateway:
    namespaces = namespace_labels(snapshot)
    listeners = gateway_listeners(gateway, attached_sets(snapshot, gateway, namespaces))
    names: dict[_Port, set[str]] = {}
    for bound in listeners:
        if not bound.conflict:
            place = (bound.listener.port, bound.listener.protocol)
            names.setdefault(place, set()).add(bound.hostname)
    return ServedGateway(
        gateway, listeners, namespaces, {place: frozenset(hosts) for place, hosts in names.items()}
    )


def attached_routes(snapshot: MeshSnapshot, served: ServedGateway) -> AttachedRoutes:
    """All routes of each listener, oldest first; found once for a snapshot, whoever asks."""
    key = (attached_routes, served.gateway.ref)
    found: AttachedRoutes | None = snapshot.memo.get(key)
    if found is None:
        found = snapshot.memo[key] = _attached(snapshot, served)
    return found


def _attached(snapshot: MeshSnapshot, served: ServedGateway) -> AttachedRoutes:
    """HTTPRoutes and GRPCRoutes do not share hosts of a listener: the older route has them
    (`GRPCRouteSpec.hostnames`)."""
    owners: dict[Ref, Resource[Any]] = {served.gateway.ref: served.gateway}
    owners.update((bound.owner.ref, bound.owner) for bound in served.listeners)
    found: dict[tuple[Ref, str], dict[Ref, Route]] = {}
    taken: dict[tuple[tuple[Ref, str], str], set[str]] = {}
    for route in _routes_at(snapshot, served, owners):
        for parent in parents_of(route, (served.gateway,)):
            named = (item for item in owners.values() if names_owner(parent, route.namespace, item))
            owner = next(named, None)
            if owner is None:
                continue
            for bound in attach(route, parent, owner, served.listeners, served.namespaces).listeners:
                hosts = route_hosts(bound, route.spec) if route.kind in HTTP_ROUTES else ()
                others = [taken.get((bound.key, kind), set()) for kind in HTTP_ROUTES if kind != route.kind]
                if not any(_overlap(host, other) for host in hosts for other in others):
                    found.setdefault(bound.key, {})[route.ref] = route
                    taken.setdefault((bound.key, route.kind), set()).update(hosts)
    return found


def _routes_at(snapshot: MeshSnapshot, served: ServedGateway, owners: Iterable[Ref]) -> list[Route]:
    """The routes that name a Gateway or its ListenerSets, or are for default Gateways, in their order."""
    keys = [owner_key(ref.kind, ref.namespace, ref.name) for ref in owners]
    if served.gateway.spec.default_scope == "All":
        keys.append(DEFAULT_GATEWAYS)
    refs = {ref for key in keys for ref in snapshot.rules.naming.get(key, ())}
    return in_order(route for ref in refs if (route := snapshot.resource(ref)) is not None)


def _overlap(host: str, others: Set[str]) -> bool:
    """Does a host have anything in common with some others?"""
    if any(pattern in others for pattern in patterns_for(host)):
        return True
    return host.startswith(ANY) and any(host_matches(host, other) for other in others)


def host_routes(
    snapshot: MeshSnapshot, served: ServedGateway, bound: BoundListener, host: str
) -> Iterator[Route]:
    """The HTTPRoutes and GRPCRoutes of a listener that have exactly this host there, oldest first."""
    if not served.owns(bound, host):
        return
    table, parents = snapshot.rules.attached, served.parents(bound)
    found: dict[Ref, Route] = {}
    for parent in parents:
        for pattern in patterns_for(host):
            found.update((route.ref, in_http(route)) for route in table.get((parent, pattern), ()))
    routes = [
        route
        for route in sorted(found.values(), key=_order)
        if host in route_hosts(bound, route.spec) and served.attaches(bound, route)
    ]
    if any(_contends(snapshot, parents, route) for route in routes):
        # Who has the hosts follows from all that are older.
        attached = attached_routes(snapshot, served).get(bound.key, {}).values()
        routes = [route for route in attached if host in route_hosts(bound, route.spec)]
    yield from routes


def in_http(route: Resource[Any]) -> Route:
    """A route of any kind; a GRPCRoute in the form of an HTTPRoute."""
    return as_http(route) if route.kind == GRPC_ROUTE else route


def _order(route: Route) -> tuple[str, ...]:
    """As `in_order` has them."""
    return (*age(route), route.kind)


def _has_both_kinds(snapshot: MeshSnapshot) -> bool:
    return all(any(True for _ in snapshot.resources(GROUP, kind)) for kind in HTTP_ROUTES)


def is_attached(snapshot: MeshSnapshot, served: ServedGateway, bound: BoundListener, route: Route) -> bool:
    """Is a route at a listener, one that may be attached there, or does an older one have its hosts?"""
    if route.kind not in HTTP_ROUTES or not _contends(snapshot, served.parents(bound), route):
        return True
    return route.ref in attached_routes(snapshot, served).get(bound.key, {})


def has_route(snapshot: MeshSnapshot, served: ServedGateway, route: Route) -> bool:
    """Is a route at some listener of a Gateway?"""
    return any(
        served.attaches(bound, route) and is_attached(snapshot, served, bound, route)
        for bound in served.listeners
    )


def _contends(snapshot: MeshSnapshot, parents: Sequence[str], route: Route) -> bool:
    """Is there a route of the other kind that may want some of the same hosts?"""
    return _has_both_kinds(snapshot) and any(
        other.kind != route.kind
        for host in hostnames(route)
        for other in overlapping(snapshot.rules.attached, parents, host)
    )
