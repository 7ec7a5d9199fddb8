"""The Gateway API's Gateways and the routes attached to them: the servers that a gateway's proxy has.

Behaviour: gateway-api.sigs.k8s.io. What is not served is said in the resources' status
(`gateway_api_status`), which follows the same decisions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from marline.api.gateway_api.gateway import GatewaySpec
from marline.api.gateway_api.http_route import HTTPRouteSpec
from marline.api.resource import Ref, Resource
from marline.compile.gateway_api_attach import Route, attach, names_owner, parents_of, route_hosts
from marline.compile.gateway_api_backends import Client, client_of, resolve_backend
from marline.compile.gateway_api_l4 import l4_routes
from marline.compile.gateway_api_listeners import (
    HTTP_ROUTES,
    BoundListener,
    attached_sets,
    gateway_listeners,
    overlapping,
)
from marline.compile.gateway_api_rules import RouteSet, backend_key, references
from marline.compile.gateway_api_tls import termination_of
from marline.compile.gateway_hosts import ANY, common_host
from marline.compile.gateway_limits import route_limiters
from marline.compile.gateway_lookup import api_routes, namespace_labels
from marline.compile.gateway_server import HostTable, Kind, Server, listen_port
from marline.mesh.gateways import serving
from marline.mesh.hosts import host_matches
from marline.mesh.model import Proxy
from marline.mesh.snapshot import MeshSnapshot


@dataclass(frozen=True, slots=True)
class ServedGateway:
    """A Gateway with its listeners and the routes that each of them has, oldest first."""

    gateway: Resource[GatewaySpec]
    listeners: tuple[BoundListener, ...]
    routes: dict[tuple[Ref, str], list[Route]]
    """By `BoundListener.key`."""

    def own_hosts(self, bound: BoundListener, route: Route) -> tuple[str, ...]:
        """The hosts of a route that are a listener's own. A host belongs to the listener with the narrowest
        name for it, so that the routes of another one, for more hosts, do not count there."""
        place = (bound.listener.port, bound.listener.protocol)
        narrower = [
            other.hostname
            for other in self.listeners
            if not other.conflict
            and (other.listener.port, other.listener.protocol) == place
            and other.is_narrower(bound)
        ]
        return tuple(
            host
            for host in route_hosts(bound, route.spec)
            if not any(host_matches(name, host) for name in narrower)
        )


def api_servers(snapshot: MeshSnapshot, proxy: Proxy) -> Iterator[Server]:
    """The servers of all Gateways for a proxy, those of the oldest Gateway first."""
    for gateway in serving(snapshot, proxy):
        served = served_gateway(snapshot, gateway)
        for bound in served.listeners:
            if bound.is_served:
                yield _server(snapshot, proxy, served, bound)


def served_gateway(snapshot: MeshSnapshot, gateway: Resource[GatewaySpec]) -> ServedGateway:
    """Found once for a snapshot, however many proxies and statuses ask."""
    key = (served_gateway, gateway.ref)
    found: ServedGateway | None = snapshot.memo.get(key)
    if found is None:
        found = snapshot.memo[key] = _served(snapshot, gateway)
    return found


def _served(snapshot: MeshSnapshot, gateway: Resource[GatewaySpec]) -> ServedGateway:
    """HTTPRoutes and GRPCRoutes do not share hosts of a listener: the older route has them
    (`GRPCRouteSpec.hostnames`)."""
    namespaces = namespace_labels(snapshot)
    sets = attached_sets(snapshot, gateway, namespaces)
    listeners = gateway_listeners(gateway, sets)
    owners: list[Resource[Any]] = [gateway, *sets]
    found: dict[tuple[Ref, str], list[Route]] = {}
    for route in api_routes(snapshot):
        for parent in parents_of(route, (gateway,)):
            owner = next((item for item in owners if names_owner(parent, route.namespace, item)), None)
            if owner is None:
                continue
            for bound in attach(route, parent, owner, listeners, namespaces).listeners:
                known = found.setdefault(bound.key, [])
                if route not in known and not _is_taken(bound, route, known):
                    known.append(route)
    return ServedGateway(gateway, listeners, found)


def _is_taken(bound: BoundListener, route: Route, attached: list[Route]) -> bool:
    """Does a listener have a route of the other kind for a host of this one?"""
    if route.kind not in HTTP_ROUTES:
        return False
    hosts = route_hosts(bound, route.spec)
    return any(
        common_host(own, taken)
        for other in attached
        if other.kind != route.kind
        for taken in route_hosts(bound, other.spec)
        for own in hosts
    )


def _server(snapshot: MeshSnapshot, proxy: Proxy, served: ServedGateway, bound: BoundListener) -> Server:
    routes = served.routes.get(bound.key, [])
    protocol, number = bound.listener.protocol, bound.listener.port
    owner = bound.owner
    common: dict[str, Any] = {"number": number, "source": owner.ref, "name": bound.listener.name}
    sni_hosts = () if bound.hostname == ANY else (bound.hostname,)
    if protocol == "HTTP":
        hosts = _hosts(snapshot, proxy, served, bound, routes)
        return Server(Kind.HTTP, **common, table=f"http.{number}", hosts=hosts)
    termination = termination_of(snapshot, served.gateway, bound)
    if protocol == "HTTPS":
        return Server(
            Kind.HTTPS,
            **common,
            sni_hosts=sni_hosts,
            table=f"https.{number}.{bound.listener.name}.{owner.name}.{owner.namespace}",
            hosts=(*_hosts(snapshot, proxy, served, bound, routes), *_misdirected(served, bound)),
            termination=termination,
        )
    pairs = [(route, served.own_hosts(bound, route)) for route in routes]
    l4 = l4_routes(snapshot, client_of(proxy), bound, pairs)
    if protocol == "UDP":
        return Server(Kind.UDP, **common, l4=l4)
    if bound.passes_through:
        return Server(Kind.PASSTHROUGH, **common, l4=l4)
    kind = Kind.TLS if protocol == "TLS" else Kind.TCP
    return Server(
        kind, **common, sni_hosts=sni_hosts if kind is Kind.TLS else (), l4=l4, termination=termination
    )


def _hosts(
    snapshot: MeshSnapshot,
    proxy: Proxy,
    served: ServedGateway,
    bound: BoundListener,
    routes: Sequence[Route],
) -> tuple[HostTable, ...]:
    """What is routed for each host of a listener."""
    scheme = "https" if bound.listener.protocol == "HTTPS" else "http"
    listen = listen_port(proxy, bound.listener.port)
    # An empty table for the listener's own host keeps its requests from a listener for more hosts.
    found = [HostTable(bound.hostname)] if bound.hostname != ANY else []
    own = bound.owner.ref == served.gateway.ref
    outer = (served.gateway.ref, bound.listener.name if own else "")
    for route in routes:
        made = route_set(snapshot, client_of(proxy), cast("Resource[HTTPRouteSpec]", route), scheme, listen)
        limiters = route_limiters(
            snapshot, [(route.ref, rule.name or "") for rule in made.resource.spec.rules], route.ref, outer
        )
        made = replace(made, limiters=limiters)
        found.extend(HostTable(host, route_sets=(made,)) for host in served.own_hosts(bound, route))
    return tuple(found)


def _misdirected(served: ServedGateway, bound: BoundListener) -> Iterator[HostTable]:
    """Requests for another listener that came over this one's connection are sent back with 421, so that the
    client makes a connection for that listener (RFC 9110, 15.5.20)."""
    for other in overlapping(bound, served.listeners):
        yield HostTable(other.hostname, misdirected=True)


def route_set(
    snapshot: MeshSnapshot, client: Client, route: Resource[HTTPRouteSpec], scheme: str, port: int
) -> RouteSet:
    """A route with where its backends lead, for requests to a listener or a Service's port."""
    backends = {
        backend_key(backend): resolve_backend(snapshot, client, cast(Route, route), backend).target
        for backend in references(route.spec)
    }
    return RouteSet(route, scheme, port, tuple(backends.items()))
