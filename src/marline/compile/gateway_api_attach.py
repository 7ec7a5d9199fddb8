"""Which HTTPRoutes and GRPCRoutes attach to which listeners of a Gateway, and if not, why.

Behaviour and reasons: gateway-api.sigs.k8s.io, `ParentReference`, `AllowedRoutes`, `RouteConditionReason`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from marline.api.gateway_api.gateway import GatewaySpec, Listener
from marline.api.gateway_api.http_route import HTTPRouteSpec
from marline.api.gateway_api.reference_grant import ReferenceGrantSpec
from marline.api.gateway_api.shared import GROUP, LabelSelector, ParentReference
from marline.api.resource import Resource
from marline.compile.gateway_hosts import ANY, common_host

HTTP_PROTOCOLS = ("HTTP", "HTTPS")
ROUTE_KINDS = ("HTTPRoute", "GRPCRoute")


@dataclass(frozen=True, slots=True)
class Attachment:
    """What became of one parentRef of a route."""

    listeners: tuple[Listener, ...] = ()
    reason: str = "Accepted"
    message: str = "The route is attached"

    @property
    def accepted(self) -> bool:
        return bool(self.listeners)


def names_gateway(parent: ParentReference, route_namespace: str, gateway: Resource[GatewaySpec]) -> bool:
    return (parent.group, parent.kind, parent.name) == (GROUP, "Gateway", gateway.name) and (
        route_namespace if parent.namespace is None else parent.namespace
    ) == gateway.namespace


def attach(
    route: Resource[HTTPRouteSpec],
    parent: ParentReference,
    gateway: Resource[GatewaySpec],
    namespaces: Mapping[str, Mapping[str, str]],
) -> Attachment:
    """Try a route at the listeners that its parentRef names. `namespaces`: their labels, by name."""
    named = [
        listener
        for listener in gateway.spec.listeners
        if parent.section_name in (None, listener.name) and parent.port in (None, listener.port)
    ]
    if not named:
        wanted = f"named {parent.section_name!r}" if parent.section_name else f"on port {parent.port}"
        return Attachment((), "NoMatchingParent", f"{gateway.ref} has no listener {wanted}")
    allowed = [item for item in named if _allows(item, gateway.namespace, route, namespaces)]
    if not allowed:
        message = f"no listener of {gateway.ref} allows this {route.kind} from namespace {route.namespace}"
        return Attachment((), "NotAllowedByListeners", message)
    fitting = tuple(item for item in allowed if route_hosts(item, route.spec))
    if not fitting:
        message = f"no hostname of the route is one of a listener of {gateway.ref}"
        return Attachment((), "NoMatchingListenerHostname", message)
    return Attachment(fitting)


def _allows(
    listener: Listener,
    own: str,
    route: Resource[HTTPRouteSpec],
    namespaces: Mapping[str, Mapping[str, str]],
) -> bool:
    if listener.protocol not in HTTP_PROTOCOLS:
        return False
    rules, namespace = listener.allowed_routes, route.namespace
    if rules is None:
        return namespace == own
    if rules.kinds and not any((item.group, item.kind) == (GROUP, route.kind) for item in rules.kinds):
        return False
    origin = rules.namespaces.from_ if rules.namespaces is not None else "Same"
    if origin == "Selector":
        selector = rules.namespaces.selector if rules.namespaces is not None else None
        return selector is not None and selects(selector, namespaces.get(namespace, {}))
    return origin == "All" or (origin == "Same" and namespace == own)


def selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Kubernetes' label selector semantics."""
    if any(labels.get(key) != value for key, value in selector.match_labels.items()):
        return False
    for item in selector.match_expressions:
        value = labels.get(item.key)
        holds = {
            "In": value is not None and value in item.values,
            "NotIn": value is None or value not in item.values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[item.operator]
        if not holds:
            return False
    return True


def route_hosts(listener: Listener, spec: HTTPRouteSpec) -> tuple[str, ...]:
    """The hosts that a route has at a listener; empty when they have none in common."""
    own = listener.hostname or ANY
    found = (common_host(own, host) for host in spec.hostnames or (ANY,))
    return tuple(dict.fromkeys(host for host in found if host is not None))


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
