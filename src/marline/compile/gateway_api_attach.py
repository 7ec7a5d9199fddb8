"""Which routes attach to which listeners, and if not, why.

Behaviour and reasons: gateway-api.sigs.k8s.io, `ParentReference`, `AllowedRoutes`, `RouteConditionReason`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from marline.api.gateway_api.gateway import GatewaySpec
from marline.api.gateway_api.http_route import HTTPRouteSpec
from marline.api.gateway_api.listener import RouteNamespaces
from marline.api.gateway_api.shared import GROUP, ParentReference
from marline.api.gateway_api.tcp_route import TCPRouteSpec
from marline.api.gateway_api.tls_route import TLSRouteSpec
from marline.api.gateway_api.udp_route import UDPRouteSpec
from marline.api.resource import Resource
from marline.compile.gateway_api_listeners import BoundListener, Namespaces, from_namespace
from marline.compile.gateway_hosts import ANY, common_host

RouteSpec = HTTPRouteSpec | TLSRouteSpec | TCPRouteSpec | UDPRouteSpec
"""Of every kind of route; a GRPCRoute's is that of the HTTPRoute that it amounts to."""
Route = Resource[RouteSpec]


@dataclass(frozen=True, slots=True)
class Attachment:
    """What became of one parentRef of a route."""

    listeners: tuple[BoundListener, ...] = ()
    reason: str = "Accepted"
    message: str = "The route is attached"

    @property
    def accepted(self) -> bool:
        return bool(self.listeners)


def names_owner(parent: ParentReference, route_namespace: str, owner: Resource[Any]) -> bool:
    """Is a Gateway or a ListenerSet the parent that is meant?"""
    return (parent.group, parent.kind, parent.name) == (GROUP, owner.kind, owner.name) and (
        route_namespace if parent.namespace is None else parent.namespace
    ) == owner.namespace


def parents_of(route: Route, gateways: Iterable[Resource[GatewaySpec]]) -> Iterator[ParentReference]:
    """The parents that a route names, and the default Gateways if it wants them (GEP-3793)."""
    yield from route.spec.parent_refs
    if route.spec.use_default_gateways != "All":
        return
    for gateway in gateways:
        if gateway.spec.default_scope == "All":
            parent = ParentReference(gateway.name, namespace=gateway.namespace)
            if not any(names_owner(item, route.namespace, gateway) for item in route.spec.parent_refs):
                yield parent


def attach(
    route: Route,
    parent: ParentReference,
    owner: Resource[Any],
    listeners: Sequence[BoundListener],
    namespaces: Namespaces,
) -> Attachment:
    """Try a route at the listeners of its parent (`owner`) that its parentRef names."""
    named = [
        item
        for item in listeners
        if item.owner.ref == owner.ref
        and parent.section_name in (None, item.listener.name)
        and parent.port in (None, item.listener.port)
    ]
    if not named:
        wanted = f"named {parent.section_name!r}" if parent.section_name else f"on port {parent.port}"
        return Attachment((), "NoMatchingParent", f"{owner.ref} has no listener {wanted}")
    allowed = [item for item in named if _allows(item, route, namespaces)]
    if not allowed:
        message = f"no listener of {owner.ref} allows this {route.kind} from namespace {route.namespace}"
        return Attachment((), "NotAllowedByListeners", message)
    fitting = tuple(item for item in allowed if route_hosts(item, route.spec))
    if not fitting:
        message = f"no hostname of the route is one of a listener of {owner.ref}"
        return Attachment((), "NoMatchingListenerHostname", message)
    return Attachment(fitting)


def _allows(bound: BoundListener, route: Route, namespaces: Namespaces) -> bool:
    if route.kind not in bound.wanted_kinds:
        return False
    allowed = bound.listener.allowed_routes
    wanted = allowed.namespaces if allowed is not None and allowed.namespaces is not None else None
    return from_namespace(wanted or RouteNamespaces(), bound.owner.namespace, route.namespace, namespaces)


def route_hosts(bound: BoundListener, spec: RouteSpec) -> tuple[str, ...]:
    """The hosts that a route has at a listener (`*` where there are no hosts); empty when they have none in
    common."""
    if isinstance(spec, (TCPRouteSpec, UDPRouteSpec)):
        return (ANY,)
    found = (common_host(bound.hostname, host) for host in spec.hostnames or (ANY,))
    return tuple(dict.fromkeys(host for host in found if host is not None))
