"""What the Gateway API's resources are told about themselves: their statuses, where these differ."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from marline.api.gateway_api.gateway_class import GatewayClassSpec
from marline.api.resource import Ref, Resource
from marline.compile.gateway_api import served_gateway
from marline.compile.gateway_api_conditions import Status, Verdict, changed, conditions, own_conditions
from marline.compile.gateway_api_features import SUPPORTED_FEATURES
from marline.compile.gateway_api_listener_status import gateway_status, listener_set_status
from marline.compile.gateway_api_listeners import Namespaces, allows_set, listener_sets, names_parent
from marline.compile.gateway_api_policy_status import leading_gateways, policy_status
from marline.compile.gateway_api_route_status import Parents, route_status
from marline.compile.gateway_api_served import ServedGateway
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


def statuses(
    snapshot: MeshSnapshot,
    now: str,
    proxies: Sequence[Proxy] = (),
    rejected: Callable[[Ref], str] = lambda ref: "",
) -> tuple[tuple[Ref, Status], ...]:
    """The statuses that differ from what the resources say now.

    `now` is the RFC 3339 time of conditions that change; `proxies` are the gateways' that are connected;
    `rejected` says why proxies do not take what was made of a resource, or "".
    """
    found: list[tuple[Ref, Status]] = []
    for item in gateway_classes(snapshot):
        if item.spec.controller_name in CONTROLLERS:
            found.extend(changed(item, _class_status(item, now)))
    served = [served_gateway(snapshot, item) for item in api_gateways(snapshot) if is_managed(snapshot, item)]
    for one in served:
        own = [item for item in proxies if serves(item, one.gateway) and serves_address(item, one.gateway)]
        status = gateway_status(snapshot, one, own, rejected(one.gateway.ref), now)
        found.extend(changed(one.gateway, status))
    namespaces = namespace_labels(snapshot)
    found.extend(_listener_set_statuses(snapshot, served, namespaces, now))
    parents = Parents(snapshot, served, namespaces)
    for route in api_routes(snapshot):
        found.extend(changed(route, route_status(parents, route, now, rejected(route.ref))))
    leading = leading_gateways(snapshot, served)
    for policy in snapshot.resources(*BACKEND_TLS):
        found.extend(changed(policy, policy_status(snapshot, policy, leading, now)))
    return tuple(found)


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
