"""Routes of the Gateway API for services of the mesh, as clients' proxies need them (GAMMA).

gateway-api.sigs.k8s.io, "Gateway API for Service Mesh". Where a service has such routes, VirtualServices for
it do not count. Their hostnames do not either: whoever calls the service is meant. A request that no rule
is for gets a 404.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

from envoy.config.route.v3 import route_components_pb2 as route_pb

from marline.api.gateway_api.http_route import HTTPRouteSpec
from marline.api.resource import Ref, Resource
from marline.compile.gateway_api import route_set
from marline.compile.gateway_api_backends import client_of
from marline.compile.gateway_api_grpc import GRPC_ROUTE, as_http
from marline.compile.gateway_api_l4 import l4_route
from marline.compile.gateway_api_rules import RouteSet, ordered_routes
from marline.compile.routes_l4 import L4Route
from marline.compile.routes_targets import Target
from marline.mesh.model import Port, Protocol, Proxy, Service
from marline.mesh.snapshot import MeshSnapshot

_TLS: Final = (Protocol.TLS, Protocol.HTTPS)
_OF_REQUESTS: Final = ("HTTPRoute", GRPC_ROUTE)


@dataclass(frozen=True, slots=True)
class ServiceRoutes:
    """The routes of one kind for a service's port, oldest first; none of them: requests get a 404."""

    route_sets: tuple[RouteSet, ...]

    @property
    def sources(self) -> tuple[Ref, ...]:
        return tuple(routes.ref for routes in self.route_sets)

    def envoy_routes(self) -> list[route_pb.Route]:
        return ordered_routes(self.route_sets)

    def leads_to(self) -> Iterator[Target | None]:
        for routes in self.route_sets:
            yield from routes.leads_to()


def service_routes(
    snapshot: MeshSnapshot, proxy: Proxy, service: Service, port: Port
) -> ServiceRoutes | None:
    """HTTPRoutes and GRPCRoutes do not share a service: the kind of the oldest counts."""
    client = client_of(proxy)
    found = [
        route
        for route in snapshot.service_routes(service, port, client.namespace)
        if route.kind in _OF_REQUESTS
    ]
    if not found:
        return None
    chosen = [_as_http(route) for route in found if route.kind == found[0].kind]
    return ServiceRoutes(tuple(route_set(snapshot, client, item, "http", port.number) for item in chosen))


def _as_http(route: Resource[Any]) -> Resource[HTTPRouteSpec]:
    return as_http(route) if route.kind == GRPC_ROUTE else cast("Resource[HTTPRouteSpec]", route)


def service_l4_routes(snapshot: MeshSnapshot, proxy: Proxy, service: Service, port: Port) -> list[L4Route]:
    """The TLSRoutes of a port for TLS, the narrowest of the names that applications ask for first; then the
    TCPRoutes."""
    client = client_of(proxy)
    routes = snapshot.service_routes(service, port, client.namespace)
    tls = [route for route in routes if route.kind == "TLSRoute"] if port.protocol in _TLS else []
    named = [l4_route(snapshot, client, route, (host,)) for route in tls for host in route.spec.hostnames]
    named.sort(key=lambda item: (item.sni_hosts[0].startswith("*"), -len(item.sni_hosts[0])))
    return named + [l4_route(snapshot, client, route, ()) for route in routes if route.kind == "TCPRoute"]
