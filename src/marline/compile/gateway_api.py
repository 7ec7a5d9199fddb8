"""The Gateway API's Gateways and the routes attached to them: the servers that a gateway's proxy has.

Behaviour: gateway-api.sigs.k8s.io. What is not served is said in the resources' status
(`gateway_api_status`), which follows the same decisions.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

from marline.api.gateway_api.gateway import GatewaySpec
from marline.api.gateway_api.http_route import HTTPRouteSpec
from marline.api.gateway_api.shared import GROUP
from marline.api.resource import Ref, Resource
from marline.compile.gateway_api_attach import Route
from marline.compile.gateway_api_backends import Client, client_of, resolve_backend
from marline.compile.gateway_api_grpc import GRPC_ROUTE, as_http
from marline.compile.gateway_api_l4 import l4_routes
from marline.compile.gateway_api_listeners import HTTP_ROUTES, BoundListener, overlapping
from marline.compile.gateway_api_rules import RouteSet, backend_key, references
from marline.compile.gateway_api_served import (
    ServedGateway,
    attached_routes,
    gateway_with_listeners,
    host_routes,
)
from marline.compile.gateway_api_tls import termination_of
from marline.compile.gateway_hosts import ANY
from marline.compile.gateway_limits import gateway_limiters, limited_routes, limiters_of, route_limiters
from marline.compile.gateway_server import HostTable, Kind, Server, listen_port
from marline.compile.rate_limits import RateLimiter
from marline.mesh.gateways import serving
from marline.mesh.model import Proxy
from marline.mesh.snapshot import MeshSnapshot


def api_servers(snapshot: MeshSnapshot, proxy: Proxy) -> Iterator[Server]:
    """The servers of all Gateways for a proxy, those of the oldest Gateway first."""
    for gateway in serving(snapshot, proxy):
        served = gateway_with_listeners(snapshot, gateway)
        for bound in served.listeners:
            if bound.is_served:
                yield _server(snapshot, proxy, served, bound)


def served_gateway(snapshot: MeshSnapshot, gateway: Resource[GatewaySpec]) -> ServedGateway:
    """Found once for a snapshot, however many statuses ask."""
    key = (served_gateway, gateway.ref)
    found: ServedGateway | None = snapshot.memo.get(key)
    if found is None:
        found = snapshot.memo[key] = gateway_with_listeners(snapshot, gateway)
    return found


def _server(snapshot: MeshSnapshot, proxy: Proxy, served: ServedGateway, bound: BoundListener) -> Server:
    protocol, number = bound.listener.protocol, bound.listener.port
    owner = bound.owner
    common: dict[str, Any] = {"number": number, "source": owner.ref, "name": bound.listener.name}
    sni_hosts = () if bound.hostname == ANY else (bound.hostname,)
    if protocol == "HTTP":
        return Server(Kind.HTTP, **common, table=f"http.{number}", routes=ListenerRoutes(served, bound))
    termination = termination_of(snapshot, served.gateway, bound)
    if protocol == "HTTPS":
        return Server(
            Kind.HTTPS,
            **common,
            sni_hosts=sni_hosts,
            table=f"https.{number}.{bound.listener.name}.{owner.name}.{owner.namespace}",
            routes=ListenerRoutes(served, bound),
            misdirected=tuple(dict.fromkeys(item.hostname for item in overlapping(bound, served.listeners))),
            termination=termination,
        )
    routes = attached_routes(snapshot, served).get(bound.key, {})
    pairs = [(route, served.own_hosts(bound, route)) for route in routes.values()]
    l4 = l4_routes(snapshot, client_of(proxy), bound, pairs)
    if protocol == "UDP":
        return Server(Kind.UDP, **common, l4=l4)
    if bound.passes_through:
        return Server(Kind.PASSTHROUGH, **common, l4=l4)
    kind = Kind.TLS if protocol == "TLS" else Kind.TCP
    return Server(
        kind, **common, sni_hosts=sni_hosts if kind is Kind.TLS else (), l4=l4, termination=termination
    )


@dataclass(frozen=True, slots=True, eq=False)
class ListenerRoutes:
    """The requests of one listener."""

    served: ServedGateway
    bound: BoundListener

    @property
    def names(self) -> tuple[str, ...]:
        return (self.bound.hostname,)

    def tables(self, snapshot: MeshSnapshot, proxy: Proxy, host: str) -> Iterator[HostTable]:
        if host == self.bound.hostname != ANY:
            # An empty table for the listener's own host keeps its requests from a listener for more hosts.
            yield HostTable(host)
        scheme = "https" if self.bound.listener.protocol == "HTTPS" else "http"
        listen = listen_port(proxy, self.bound.listener.port)
        for route in host_routes(snapshot, self.served, self.bound, host):
            http_route = cast("Resource[HTTPRouteSpec]", route)
            made = route_set(snapshot, client_of(proxy), http_route, scheme, listen)
            yield HostTable(host, route_sets=(replace(made, limiters=self._limiters(snapshot, http_route)),))

    def limiters(self, snapshot: MeshSnapshot, proxy: Proxy) -> Iterator[RateLimiter]:
        yield from gateway_limiters(snapshot, self._section)
        for item in limited_routes(snapshot, GROUP, HTTP_ROUTES):
            route = as_http(item) if item.kind == GRPC_ROUTE else item
            if self.served.attaches(self.bound, route):
                yield from limiters_of(snapshot, route.ref)

    def _limiters(
        self, snapshot: MeshSnapshot, route: Resource[HTTPRouteSpec]
    ) -> tuple[RateLimiter | None, ...]:
        rules = [(route.ref, rule.name or "") for rule in route.spec.rules]
        return route_limiters(snapshot, rules, route.ref, self._section)

    @property
    def _section(self) -> tuple[Ref, str]:
        """What policies for gateways name: of a ListenerSet's listeners only the whole Gateway is one's."""
        gateway = self.served.gateway.ref
        return (gateway, self.bound.listener.name if self.bound.owner.ref == gateway else "")


def route_set(
    snapshot: MeshSnapshot, client: Client, route: Resource[HTTPRouteSpec], scheme: str, port: int
) -> RouteSet:
    """A route with where its backends lead, for requests to a listener or a Service's port."""
    backends = {
        backend_key(backend): resolve_backend(snapshot, client, cast(Route, route), backend).target
        for backend in references(route.spec)
    }
    return RouteSet(route, scheme, port, tuple(backends.items()))
