"""What the Gateway API's resources are told about themselves: their statuses, where these differ."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from marline.api.gateway_api.gateway_class import GatewayClassSpec
from marline.api.gateway_api.listener_set import ListenerSetSpec
from marline.api.resource import Ref, Resource
from marline.compile.gateway_api_conditions import Status, Verdict, changed, conditions, own_conditions
from marline.compile.gateway_api_features import SUPPORTED_FEATURES
from marline.compile.gateway_api_listener_status import gateway_status, listener_set_status
from marline.compile.gateway_api_listeners import allows_set
from marline.compile.gateway_api_parents import served_by_name
from marline.compile.gateway_api_policy_status import policy_status
from marline.compile.gateway_api_route_status import route_status
from marline.compile.gateway_api_served import in_http
from marline.compile.gateway_lookup import (
    api_gateways,
    api_routes,
    gateway_classes,
)
from marline.mesh.backend_tls import BACKEND_TLS
from marline.mesh.gateway_routes import parent_gateway
from marline.mesh.gateways import CONTROLLERS, serves, serves_address
from marline.mesh.model import Proxy
from marline.mesh.rules import LISTENER_SET
from marline.mesh.snapshot import MeshSnapshot

BUNDLE_VERSIONS: Final = "v1.5 and v1.6"
"""The releases of the Gateway API whose fields the models have."""


Rejected = Callable[[Ref], str]
"""Why proxies do not take what was made of a resource, or ""."""


def nobody_rejects(ref: Ref) -> str:
    return ""


def statuses(
    snapshot: MeshSnapshot, now: str, proxies: Sequence[Proxy] = (), rejected: Rejected = nobody_rejects
) -> tuple[tuple[Ref, Status], ...]:
    """The statuses that differ from what the resources say now.

    `now` is the RFC 3339 time of conditions that change; `proxies` are the gateways' that are connected.
    """
    servers = [*api_gateways(snapshot), *snapshot.resources(*LISTENER_SET)]
    routes = [*api_routes(snapshot), *snapshot.resources(*BACKEND_TLS)]
    return (
        *_class_statuses(snapshot, now),
        *server_statuses(snapshot, [item.ref for item in servers], now, proxies, rejected),
        *route_statuses(snapshot, [item.ref for item in routes], now, rejected),
    )


def server_statuses(
    snapshot: MeshSnapshot,
    refs: Iterable[Ref],
    now: str,
    proxies: Sequence[Proxy] = (),
    rejected: Rejected = nobody_rejects,
) -> Iterator[tuple[Ref, Status]]:
    """Those of some Gateways and ListenerSets, as far as they are there."""
    for ref in refs:
        item = snapshot.resource(ref)
        if item is None:
            continue
        if ref.kind == "ListenerSet":
            yield from _listener_set_statuses(snapshot, item, now)
            continue
        served = served_by_name(snapshot, ref)
        if served is not None:
            own = [one for one in proxies if serves(one, item) and serves_address(one, item)]
            yield from changed(item, gateway_status(snapshot, served, own, rejected(ref), now))


def route_statuses(
    snapshot: MeshSnapshot, refs: Iterable[Ref], now: str, rejected: Rejected = nobody_rejects
) -> Iterator[tuple[Ref, Status]]:
    """Those of some routes and BackendTLSPolicies, as far as they are there."""
    for ref in refs:
        item = snapshot.resource(ref)
        if item is None:
            continue
        if (item.group, item.kind) == BACKEND_TLS:
            yield from changed(item, policy_status(snapshot, item, now))
        else:
            route = in_http(item)
            yield from changed(route, route_status(snapshot, route, now, rejected(ref)))


def _class_statuses(snapshot: MeshSnapshot, now: str) -> Iterator[tuple[Ref, Status]]:
    for item in gateway_classes(snapshot):
        if item.spec.controller_name in CONTROLLERS:
            yield from changed(item, _class_status(item, now))


def _class_status(item: Resource[GatewayClassSpec], now: str) -> Status:
    accepted = Verdict("Accepted", True, "Accepted", "Marline serves Gateways of this class")
    if item.spec.parameters_ref is not None:
        kind = item.spec.parameters_ref.kind
        message = f"parametersRef: no kind of parameters is known, such as {kind}"
        accepted = Verdict("Accepted", False, "InvalidParameters", message)
    version = Verdict(
        "SupportedVersion", True, "SupportedVersion", f"The kinds are those of {BUNDLE_VERSIONS}"
    )
    return {
        "conditions": conditions(item, own_conditions(item), [accepted, version], now),
        "supportedFeatures": [{"name": name} for name in SUPPORTED_FEATURES],
    }


def _listener_set_statuses(
    snapshot: MeshSnapshot, item: Resource[ListenerSetSpec], now: str
) -> Iterator[tuple[Ref, Status]]:
    parent = served_by_name(snapshot, parent_gateway(item))
    if parent is not None:
        allowed = allows_set(parent.gateway, item.namespace, parent.namespaces)
        yield from changed(item, listener_set_status(snapshot, parent if allowed else None, item, now))
