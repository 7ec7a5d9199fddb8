"""Where the backend references of routes lead, or why they lead nowhere.

Reasons of the `ResolvedRefs` condition: gateway-api.sigs.k8s.io, `RouteConditionReason`.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from marline.api.gateway_api.reference_grant import ReferenceGrantSpec
from marline.api.gateway_api.shared import GROUP, BackendObjectReference
from marline.api.resource import Resource
from marline.compile.gateway_api_attach import Route
from marline.compile.gateway_api_grpc import GRPC_ROUTE
from marline.compile.gateway_lookup import reference_grants
from marline.compile.routes_active import MESH, Side
from marline.compile.routes_l4 import PLAIN_TCP, TcpSettings
from marline.compile.routes_lookup import (
    cluster_hostname,
    find_service,
    service_target,
    source_labels,
    source_namespace,
    tcp_settings,
)
from marline.compile.routes_targets import Target, datagram_cluster
from marline.mesh.model import Port, Protocol, Proxy, Role, Service
from marline.mesh.snapshot import MeshSnapshot

SERVICE: Final = ("", "Service")
UDP_ROUTE: Final = "UDPRoute"
HOSTNAME: Final = ("networking.istio.io", "Hostname")
"""A host of the mesh, whatever resource it is from (istio.io, "Kubernetes Gateway API")."""
_SPEAKS_HTTP1: Final = (Protocol.HTTP,)


class Client(NamedTuple):
    """Whose requests they are: DestinationRules are found from there."""

    namespace: str
    labels: Mapping[str, str] = {}
    is_gateway: bool = False


def client_of(proxy: Proxy) -> Client:
    return Client(source_namespace(proxy), source_labels(proxy), proxy.role is Role.GATEWAY)


class Backend(NamedTuple):
    """Where a reference leads; without a target the reason and a message."""

    target: Target | None
    reason: str = "ResolvedRefs"
    message: str = ""
    settings: TcpSettings = PLAIN_TCP
    """Of connections that are not read as HTTP."""


def resolve_backend(
    snapshot: MeshSnapshot, client: Client, route: Route, backend: BackendObjectReference
) -> Backend:
    kind = (backend.group, backend.kind)
    namespace = route.namespace if backend.namespace is None else backend.namespace
    if kind == HOSTNAME:
        hostname, shown = backend.name.lower(), f"host {backend.name}"
    elif kind == SERVICE:
        hostname = cluster_hostname(snapshot, backend.name, namespace)
        shown = f"Service {namespace}/{backend.name}"
    else:
        return Backend(None, "InvalidKind", f"a backend of kind {backend.group}/{backend.kind} is not known")
    source, target = (GROUP, route.kind, route.namespace), (*kind, namespace, backend.name)
    # Whom a workload of the mesh calls is its own affair (GEP-1294, "Namespace boundaries").
    if client.is_gateway and not is_granted(reference_grants(snapshot), source, target):
        return Backend(None, "RefNotPermitted", f"no ReferenceGrant allows the reference to {shown}")
    service = find_service(snapshot, hostname)
    if service is None:
        return Backend(None, "BackendNotFound", f"{shown} does not exist")
    port = _port(service, route.kind, backend.port) if backend.port is not None else None
    if port is None:
        return Backend(None, "BackendNotFound", f"{shown} has no port {backend.port}")
    fault = _protocol_fault(route.kind, port, client)
    if port.protocol is Protocol.UDP and hostname.startswith("*"):
        fault = fault or "is of many hosts, of which datagrams name none"
    if fault:
        return Backend(None, "UnsupportedProtocol", f"port {port.number} of {shown} {fault}")
    found = service_target(snapshot, client.namespace, client.labels, service, port.number)
    if port.protocol is Protocol.UDP:
        found = Target(datagram_cluster(service.hostname, port.number))
    side = Side(port.number, MESH, client.labels, client.namespace)
    return Backend(found, settings=tcp_settings(snapshot, side, hostname, port.number))


def _port(service: Service, kind: str, number: int) -> Port | None:
    """The port that a route of a kind means; one of the other transport only if there is no such."""
    connections, datagrams = service.port(number), service.datagram_port(number)
    return datagrams or connections if kind == UDP_ROUTE else connections or datagrams


def _protocol_fault(kind: str, port: Port, client: Client) -> str:
    """Why a route of a kind cannot lead to a port, given what the port says of its protocol."""
    if (kind == UDP_ROUTE) != (port.protocol is Protocol.UDP):
        return f"is {port.protocol.value}, which a {kind} cannot lead to"
    if kind == GRPC_ROUTE and port.protocol in _SPEAKS_HTTP1:
        return "is declared as HTTP/1, over which there is no gRPC; set appProtocol: kubernetes.io/h2c"
    if kind == GRPC_ROUTE and port.protocol is Protocol.AUTO and client.is_gateway:
        return "declares no protocol, so that gateways speak HTTP/1 to it; set appProtocol: kubernetes.io/h2c"
    return ""


def is_granted(
    grants: Iterable[Resource[ReferenceGrantSpec]],
    source: tuple[str, str, str],
    target: tuple[str, str, str, str],
) -> bool:
    """May a resource (group, kind, namespace) refer to one (group, kind, namespace, name)?

    Within a namespace always, across namespaces when a ReferenceGrant there says so.
    """
    group, kind, namespace, name = target
    if source[2] == namespace:
        return True
    for grant in grants:
        if grant.namespace != namespace:
            continue
        trusts = any((item.group, item.kind, item.namespace) == source for item in grant.spec.from_)
        covers = any(
            (item.group, item.kind) == (group, kind) and item.name in (None, "", name)
            for item in grant.spec.to
        )
        if trusts and covers:
            return True
    return False
