"""Routes of the Gateway API that are attached to services of the mesh (GAMMA): which, and for whom.

gateway-api.sigs.k8s.io, "Gateway API for Service Mesh" (GEP-1426): a route in the namespace of its service is
the producer's and counts for all clients; one in another namespace is a consumer's and counts for the
clients there, instead of the producer's.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from marline.api.gateway_api.grpc_route import GRPCRouteFilter
from marline.api.gateway_api.http_route import HTTPRouteFilter
from marline.api.gateway_api.shared import BackendObjectReference, ParentReference
from marline.api.resource import Ref, Resource
from marline.mesh.model import Port, Protocol, Service
from marline.mesh.registry import SERVICE_ENTRY, Registry

GROUP: Final = "gateway.networking.k8s.io"
SERVICE_ROUTES: Final = frozenset(
    (GROUP, kind) for kind in ("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute")
)
"""The kinds that may be attached to a service."""
ROUTES: Final = SERVICE_ROUTES | {(GROUP, "UDPRoute")}
"""All kinds of routes."""
REFERENCE_GRANT: Final = (GROUP, "ReferenceGrant")
_ISTIO: Final = "networking.istio.io"
SERVICE_PARENTS: Final = (("", "Service"), (_ISTIO, "ServiceEntry"), (_ISTIO, "Hostname"))
"""What stands for services; the latter two as in Istio."""


def is_service(parent: ParentReference) -> bool:
    return (parent.group, parent.kind) in SERVICE_PARENTS


def parent_key(parent: ParentReference, namespace: str, cluster_domain: str) -> str:
    """By what a parent's routes are found: its hostname, or the name of the ServiceEntry."""
    own = namespace if parent.namespace is None else parent.namespace
    if parent.kind == "Service":
        return f"{parent.name}.{own}.svc.{cluster_domain}"
    if parent.kind == "Hostname":
        return parent.name.lower()
    return entry_key(own, parent.name)


def entry_key(namespace: str, name: str) -> str:
    return f"{namespace}/{name}"


def keys_of(service: Service) -> Iterator[str]:
    """By what the routes of a service are found."""
    yield service.hostname
    if service.source.kind == "ServiceEntry":
        yield entry_key(service.source.namespace, service.source.name)


def route_keys(route: Resource[Any], cluster_domain: str) -> list[str]:
    """The services that a route is attached to, each once."""
    parents = (item for item in route.spec.parent_refs if is_service(item))
    return list(dict.fromkeys(parent_key(item, route.namespace, cluster_domain) for item in parents))


def parent_services(registry: Registry, route: Resource[Any], cluster_domain: str) -> Iterator[Service]:
    """The services that a route is attached to, as all those describe them that claim their hosts."""
    for parent in route.spec.parent_refs:
        if not is_service(parent):
            continue
        if parent.kind == "ServiceEntry":
            ref = Ref(*SERVICE_ENTRY, parent.namespace or route.namespace, parent.name)
            yield from registry.sources.get(ref, ())
        else:
            yield from registry.claims.get(parent_key(parent, route.namespace, cluster_domain), ())


def speaks_for_gateways(route: Resource[Any]) -> bool:
    return route.spec.use_default_gateways == "All" or any(
        not is_service(item) for item in route.spec.parent_refs
    )


def is_for_connections(route: Resource[Any]) -> bool:
    """Does it say where bytes go, rather than requests?"""
    return route.kind in ("TLSRoute", "TCPRoute")


def backend_hosts(route: Resource[Any], cluster_domain: str) -> set[str]:
    """The hosts that a route sends or mirrors to, or asks."""
    found: set[str] = set()
    for backend in _backends(route):
        if (backend.group, backend.kind) == (_ISTIO, "Hostname"):
            found.add(backend.name.lower())
        elif (backend.group, backend.kind) == ("", "Service"):
            found.add(f"{backend.name}.{backend.namespace or route.namespace}.svc.{cluster_domain}")
    return found


def crossed_namespaces(route: Resource[Any]) -> set[str]:
    """The namespaces whose ReferenceGrants decide where a route may send."""
    return {item.namespace for item in _backends(route) if item.namespace} - {route.namespace}


def _backends(route: Resource[Any]) -> Iterator[BackendObjectReference]:
    for rule in route.spec.rules:
        yield from rule.backend_refs
        filters: Iterable[HTTPRouteFilter | GRPCRouteFilter] = getattr(rule, "filters", ())
        own = (item for backend in rule.backend_refs for item in getattr(backend, "filters", ()))
        for item in (*filters, *own):
            if item.request_mirror is not None:
                yield item.request_mirror.backend_ref
            if isinstance(item, HTTPRouteFilter) and item.external_auth is not None:
                yield item.external_auth.backend_ref


def attached_routes(
    table: Mapping[str, tuple[Resource[Any], ...]], service: Service, port: Port, namespace: str, domain: str
) -> tuple[Resource[Any], ...]:
    """The routes for a service's port that count for clients of a namespace; `table` has the oldest first."""
    found: dict[Ref, Resource[Any]] = {}
    for key in keys_of(service):
        for route in table.get(key, ()):
            if any(
                is_service(item)
                and names_port(item, port)
                and parent_key(item, route.namespace, domain) == key
                for item in route.spec.parent_refs
            ):
                found[route.ref] = route
    return of_clients(found.values(), service.namespace, namespace)


def of_clients(
    routes: Iterable[Resource[Any]], service_namespace: str, namespace: str
) -> tuple[Resource[Any], ...]:
    """Of a service's routes those that count for clients of a namespace. A consumer's routes are instead of
    the producer's for the same kind of traffic: one of requests leaves connections where they go."""
    every = tuple(routes)
    taken = {_traffic(route) for route in every if route.namespace == namespace}
    return tuple(
        route
        for route in every
        if route.namespace == (namespace if _traffic(route) in taken else service_namespace)
    )


def _traffic(route: Resource[Any]) -> str:
    """Routes of requests, of either kind, stand in for each other; others for their own kind alone."""
    return route.kind if is_for_connections(route) else "HTTPRoute"


def names_port(parent: ParentReference, port: Port) -> bool:
    """Is a port of a service meant? The name of a section is that of a port. Datagrams are not routed."""
    if port.protocol is Protocol.UDP:
        return False
    return parent.port in (None, port.number) and parent.section_name in (None, port.name)
