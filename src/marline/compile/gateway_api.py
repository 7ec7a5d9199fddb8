"""The Gateway API's Gateway, HTTPRoute and GRPCRoute: the servers that a gateway's proxy has from them.

Behaviour: gateway-api.sigs.k8s.io. What is not served is said in the resources' status
(`gateway_api_status`), which follows the same decisions.
"""

from collections.abc import Iterator, Mapping

from marline.api.gateway_api.gateway import GatewaySpec, Listener, SecretObjectReference
from marline.api.gateway_api.http_route import HTTPRouteSpec
from marline.api.gateway_api.shared import GROUP, BackendObjectReference
from marline.api.resource import Resource
from marline.compile.gateway_api_attach import HTTP_PROTOCOLS, attach, is_granted, names_gateway, route_hosts
from marline.compile.gateway_api_rules import RouteSet, backend_key, references
from marline.compile.gateway_hosts import ANY, common_host
from marline.compile.gateway_lookup import (
    api_gateways,
    api_routes,
    namespace_labels,
    reference_grants,
    usable_certificate,
)
from marline.compile.gateway_server import HostTable, Kind, Server, listen_port
from marline.compile.gateway_tls import Termination
from marline.compile.routes_lookup import (
    cluster_hostname,
    find_service,
    service_target,
    source_labels,
    source_namespace,
)
from marline.compile.routes_targets import Target
from marline.mesh.gateways import is_managed, serves
from marline.mesh.model import Proxy
from marline.mesh.snapshot import MeshSnapshot


def api_servers(snapshot: MeshSnapshot, proxy: Proxy) -> Iterator[Server]:
    """The servers of all Gateways for a proxy, those of the oldest Gateway first."""
    for gateway in api_gateways(snapshot):
        if not (is_managed(snapshot, gateway) and serves(proxy, gateway)):
            continue
        attached = listener_routes(snapshot, gateway)
        conflicts = conflicting_listeners(gateway)
        for listener in gateway.spec.listeners:
            if listener.protocol in HTTP_PROTOCOLS and listener.name not in conflicts:
                yield _server(snapshot, proxy, gateway, listener, attached.get(listener.name, []))


def conflicting_listeners(gateway: Resource[GatewaySpec]) -> dict[str, str]:
    """The listeners that come too late, with the reason of their `Conflicted` condition: another has
    the same port with another protocol, or with the same hostname."""
    protocols: dict[int, str] = {}
    names: set[tuple[int, str]] = set()
    found: dict[str, str] = {}
    for listener in gateway.spec.listeners:
        key = (listener.port, (listener.hostname or ANY).lower())
        if protocols.setdefault(listener.port, listener.protocol) != listener.protocol:
            found[listener.name] = "ProtocolConflict"
        elif key in names:
            found[listener.name] = "HostnameConflict"
        names.add(key)
    return found


def listener_routes(
    snapshot: MeshSnapshot, gateway: Resource[GatewaySpec]
) -> dict[str, list[Resource[HTTPRouteSpec]]]:
    """The routes attached to each listener (by name), oldest first.

    HTTPRoutes and GRPCRoutes do not share hosts of a listener: the older route has them
    (`GRPCRouteSpec.hostnames`).
    """
    found: dict[str, list[Resource[HTTPRouteSpec]]] = {}
    namespaces = namespace_labels(snapshot)
    for route in api_routes(snapshot):
        for parent in route.spec.parent_refs:
            if not names_gateway(parent, route.namespace, gateway):
                continue
            for listener in attach(route, parent, gateway, namespaces).listeners:
                known = found.setdefault(listener.name, [])
                if route not in known and not _is_taken(listener, route, known):
                    known.append(route)
    return found


def _is_taken(
    listener: Listener, route: Resource[HTTPRouteSpec], attached: list[Resource[HTTPRouteSpec]]
) -> bool:
    """Does a listener have a route of the other kind for a host of this one?"""
    hosts = route_hosts(listener, route.spec)
    return any(
        common_host(own, taken)
        for other in attached
        if other.kind != route.kind
        for taken in route_hosts(listener, other.spec)
        for own in hosts
    )


def _server(
    snapshot: MeshSnapshot,
    proxy: Proxy,
    gateway: Resource[GatewaySpec],
    listener: Listener,
    routes: list[Resource[HTTPRouteSpec]],
) -> Server:
    number = listener.port
    own_host = (listener.hostname or ANY).lower()
    is_https = listener.protocol == "HTTPS"
    # An empty table for the listener's own host keeps its requests from a listener for more hosts.
    hosts = [HostTable(own_host)] if own_host != ANY else []
    listen = listen_port(proxy, number)
    for route in routes:
        made = _route_set(snapshot, proxy, route, "https" if is_https else "http", listen)
        hosts.extend(HostTable(host, route_sets=(made,)) for host in route_hosts(listener, route.spec))
    if not is_https:
        return Server(
            Kind.HTTP, number, gateway.ref, listener.name, table=f"http.{number}", hosts=tuple(hosts)
        )
    return Server(
        Kind.HTTPS,
        number,
        gateway.ref,
        listener.name,
        sni_hosts=() if own_host == ANY else (own_host,),
        table=f"https.{number}.{listener.name}.{gateway.name}.{gateway.namespace}",
        hosts=tuple(hosts),
        termination=_termination(snapshot, gateway, listener),
    )


def _route_set(
    snapshot: MeshSnapshot, proxy: Proxy, route: Resource[HTTPRouteSpec], scheme: str, port: int
) -> RouteSet:
    backends = {
        backend_key(backend): backend_target(
            snapshot, source_namespace(proxy), source_labels(proxy), route, backend
        )[0]
        for backend in references(route.spec)
    }
    return RouteSet(route, scheme, port, tuple(backends.items()))


def backend_target(
    snapshot: MeshSnapshot,
    client_namespace: str,
    labels: Mapping[str, str],
    route: Resource[HTTPRouteSpec],
    backend: BackendObjectReference,
) -> tuple[Target | None, str, str]:
    """Where a backend reference leads, or why it leads nowhere: a reason of the `ResolvedRefs`
    condition and a message."""
    if (backend.group, backend.kind) != ("", "Service"):
        return None, "InvalidKind", f"a backend of kind {backend.group}/{backend.kind} is not supported"
    namespace = route.namespace if backend.namespace is None else backend.namespace
    shown = f"Service {namespace}/{backend.name}"
    source, target = (GROUP, route.kind, route.namespace), ("", "Service", namespace, backend.name)
    if not is_granted(reference_grants(snapshot), source, target):
        return None, "RefNotPermitted", f"no ReferenceGrant allows the reference to {shown}"
    service = find_service(snapshot, cluster_hostname(snapshot, backend.name, namespace))
    if service is None:
        return None, "BackendNotFound", f"{shown} does not exist"
    if backend.port is None or service.port(backend.port) is None:
        return None, "BackendNotFound", f"{shown} has no port {backend.port}"
    return service_target(snapshot, client_namespace, labels, service, backend.port), "ResolvedRefs", ""


def _termination(
    snapshot: MeshSnapshot, gateway: Resource[GatewaySpec], listener: Listener
) -> Termination | None:
    references = listener.tls.certificate_refs if listener.tls is not None else ()
    found = (certificate_reference(snapshot, gateway, reference)[0] for reference in references)
    names = tuple(name for name in found if name)
    return Termination(names) if names else None


def certificate_reference(
    snapshot: MeshSnapshot, gateway: Resource[GatewaySpec], reference: SecretObjectReference
) -> tuple[str, str, str]:
    """The SDS name of a certificate, or "" with a reason of the `ResolvedRefs` condition and a message."""
    namespace = gateway.namespace if reference.namespace is None else reference.namespace
    shown = f"Secret {namespace}/{reference.name}"
    if (reference.group, reference.kind) != ("", "Secret"):
        return "", "InvalidCertificateRef", f"{reference.group}/{reference.kind} is no Secret"
    source, target = (GROUP, "Gateway", gateway.namespace), ("", "Secret", namespace, reference.name)
    if not is_granted(reference_grants(snapshot), source, target):
        return "", "RefNotPermitted", f"no ReferenceGrant allows the reference to {shown}"
    name = usable_certificate(snapshot, (namespace,), reference.name)
    if name is None:
        return "", "InvalidCertificateRef", f"{shown} does not exist, or holds no usable certificate"
    return name, "ResolvedRefs", ""
