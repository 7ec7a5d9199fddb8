"""Routes of requests at gateways of the Gateway API, by where they may be attached and for which hosts.

What a route has at a listener is decided when gateways are compiled; here is found what may matter there, and
what else a change of a route may touch.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from marline.api.gateway_api.listener_set import ListenerSetSpec
from marline.api.networking.gateway import GatewaySpec
from marline.api.resource import Ref, Resource
from marline.mesh.hosts import host_matches, patterns_for
from marline.mesh.service_routes import GROUP, is_service
from marline.mesh.visibility import age

REQUEST_ROUTES: Final = ("HTTPRoute", "GRPCRoute")
ANY_HOST: Final = "*"
DEFAULT_GATEWAYS: Final = ""
"""In the place of a parent: all Gateways that are default ones (GEP-3793)."""
_PLACING: Final = ("parent_refs", "use_default_gateways", "hostnames")
"""What of a route says at which listeners it is, but for its age."""

Attached = Mapping[tuple[str, str], tuple[Resource[Any], ...]]


def owner_key(kind: str, namespace: str, name: str) -> str:
    """A parent of routes: a Gateway or a ListenerSet."""
    return f"{kind}/{namespace}/{name}"


def gateway_keys(route: Resource[Any]) -> set[tuple[str, str]]:
    """By what the routes of requests of a gateway are found: what they are attached to, and a host."""
    if route.kind not in REQUEST_ROUTES:
        return set()
    return {(owner, host) for owner in owners(route) for host in hostnames(route)}


def owners(route: Resource[Any]) -> Iterator[str]:
    """What a route of any kind is attached to besides services."""
    for parent in route.spec.parent_refs:
        if not is_service(parent) and parent.group == GROUP:
            namespace = route.namespace if parent.namespace is None else parent.namespace
            yield owner_key(parent.kind, namespace, parent.name)
    if route.spec.use_default_gateways == "All":
        yield DEFAULT_GATEWAYS


def parent_gateway(item: Resource[ListenerSetSpec]) -> Ref | None:
    """The Gateway that a ListenerSet is for; None: something else, which has no listeners."""
    parent = item.spec.parent_ref
    if (parent.group, parent.kind) != (GROUP, "Gateway"):
        return None
    namespace = item.namespace if parent.namespace is None else parent.namespace
    return Ref(GROUP, "Gateway", namespace, parent.name)


def moves(versions: Sequence[Resource[Any]]) -> bool:
    """Does a route, of which these are the old and the new version (or one of them), come to other listeners
    than before?"""
    places = [(age(item), [getattr(item.spec, name, None) for name in _PLACING]) for item in versions]
    return len(places) == 1 or places[0] != places[-1]


def hostnames(route: Resource[Any]) -> tuple[str, ...]:
    """The hosts that a route is for; without any it is for all."""
    return tuple(host.lower() for host in route.spec.hostnames) or (ANY_HOST,)


def overlapping(table: Attached, owners: Iterable[str], host: str) -> Iterator[Resource[Any]]:
    """The routes of some parents for a host, or for some of what it stands for, or for more."""
    for owner in owners:
        for pattern in patterns_for(host):
            yield from table.get((owner, pattern), ())
    if host.startswith(ANY_HOST):
        chosen = frozenset(owners)
        for (owner, name), routes in table.items():
            if owner in chosen and name != host and host_matches(host, name):
                yield from routes


def contending(table: Attached, route: Resource[Any]) -> list[Resource[Any]]:
    """The routes that a change of one may touch: itself and, since HTTPRoutes and GRPCRoutes do not share
    hosts, those of the other kind that may have its hosts in its stead, and so on."""
    found = {route.ref: route}
    todo = [route]
    while todo:
        each = todo.pop()
        parents = {*owners(each), DEFAULT_GATEWAYS}
        if each.spec.use_default_gateways == "All":
            parents.update(owner for owner, _ in table)
        for other in (item for host in hostnames(each) for item in overlapping(table, parents, host)):
            if other.kind != each.kind and other.ref not in found:
                found[other.ref] = other
                todo.append(other)
    return list(found.values())


def server_names(item: Resource[Any]) -> Iterator[str]:
    """The hosts that the servers of a Gateway (of either API) or of a ListenerSet are for."""
    if isinstance(item.spec, GatewaySpec):
        for server in item.spec.servers:
            yield from (host.rpartition("/")[2].lower() for host in server.hosts)
    else:
        yield from ((listener.hostname or ANY_HOST).lower() for listener in item.spec.listeners)
