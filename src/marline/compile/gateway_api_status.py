"""What the Gateway API's resources are told about themselves: their statuses, where these differ."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from marline.api.gateway_api.gateway_class import GatewayClassSpec
from marline.api.resource import Ref, Resource
from marline.compile.gateway_api import served_gateway
from marline.compile.gateway_api_conditions import Status, Verdict, changed, conditions, own_conditions
from marline.compile.gateway_api_features import SUPPORTED_FEATURES
from marline.compile.gateway_api_listener_status import gateway_status, listener_set_status
from marline.compile.gateway_api_listeners import Namespaces, allows_set, listener_sets, names_parent
from marline.compile.gateway_api_policy_status import policy_status
from marline.compile.gateway_api_route_status import Parents, route_status
from marline.compile.gateway_api_served import ServedGateway, in_http
from marline.compile.gateway_lookup import (
    api_gateways,
    api_routes,
    gateway_classes,
    namespace_labels,
)
from marline.mesh.backend_tls import BACKEND_TLS
from marline.mesh.gateways import CONTROLLERS, is_managed, serves, serves_address
from marline.mesh.model import Proxy
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
    refs = [item.ref for item in (*api_routes(snapshot), *snapshot.resources(*BACKEND_TLS))]
    return (
        *_class_statuses(snapshot, now),
        *gateway_statuses(snapshot, now, proxies, rejected),
        *route_statuses(snapshot, refs, now, rejected),
    )


def gateway_statuses(
    snapshot: MeshSnapshot, now: str, proxies: Sequence[Proxy] = (), rejected: Rejected = nobody_rejects
) -> Iterator[tuple[Ref, Status]]:
    """Those of Gateways and ListenerSets."""
    served = _served(snapshot)
    for one in served:
        own = [item for item in proxies if serves(item, one.gateway) and serves_address(item, one.gateway)]
        status = gateway_status(snapshot, one, own, rejected(one.gateway.ref), now)
        yield from changed(one.gateway, status)
    yield from _listener_set_statuses(snapshot, served, namespace_labels(snapshot), now)


def route_statuses(
    snapshot: MeshSnapshot, refs: Iterable[Ref], now: str, rejected: Rejected = nobody_rejects
) -> Iterator[tuple[Ref, Status]]:
    """Those of some routes and BackendTLSPolicies, as far as they are there."""
    parents = Parents(snapshot, _served(snapshot), namespace_labels(snapshot))
    for ref in refs:
        item = snapshot.resource(ref)
        if item is None:
            continue
        if (item.group, item.kind) == BACKEND_TLS:
            yield from changed(item, policy_status(snapshot, item, parents.served, now))
        else:
            route = in_http(item)
            yield from changed(route, route_status(parents, route, now, rejected(ref)))


def _served(snapshot: MeshSnapshot) -> list[ServedGateway]:
    return [served_gateway(snapshot, item) for item in api_gateways(snapshot) if is_managed(snapshot, item)]


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
    snapshot: MeshSnapshot, served: Sequence[ServedGateway], namespaces: Namespaces, now: str
) -> Iterator[tuple[Ref, Status]]:
    for item in listener_sets(snapshot):
        parent = next((one for one in served if names_parent(item, one.gateway)), None)
        if parent is None:
            continue
        allowed = allows_set(parent.gateway, item.namespace, namespaces)
        yield from changed(item, listener_set_status(snapshot, parent if allowed else None, item, now))
