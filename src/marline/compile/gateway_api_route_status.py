"""What routes are told about themselves, for each of their parents.

Conditions and reasons: gateway-api.sigs.k8s.io, `RouteParentStatus`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from marline.api.gateway_api.gateway import GatewaySpec
from marline.api.gateway_api.http_route import HTTPRouteSpec
from marline.api.gateway_api.shared import GROUP, BackendObjectReference, ParentReference
from marline.api.resource import Ref, Resource
from marline.compile.gateway_api_attach import Route, attach, parents_of
from marline.compile.gateway_api_backends import Client, resolve_backend
from marline.compile.gateway_api_conditions import (
    CONTROLLER,
    NOT_TAKEN,
    Status,
    Verdict,
    conditions,
)
from marline.compile.gateway_api_listeners import HTTP_ROUTES
from marline.compile.gateway_api_parents import default_gateways, parent_ref, served_parent
from marline.compile.gateway_api_rules import references
from marline.compile.gateway_api_served import is_attached
from marline.compile.gateway_api_unsupported import unsupported_rules
from marline.mesh.gateways import is_accepted
from marline.mesh.model import Port, Service
from marline.mesh.registry import SERVICE_ENTRY
from marline.mesh.service_routes import SERVICE_ROUTES, is_service, names_port, parent_key
from marline.mesh.snapshot import MeshSnapshot


def route_status(snapshot: MeshSnapshot, route: Route, now: str, rejected: str) -> Status:
    """With the entries of other controllers as they are."""
    present = list(route.status.get("parents", ()))
    made = [item for item in present if item.get("controllerName") != CONTROLLER]
    for parent in parents_of(route, default_gateways(snapshot)):
        accepted = _accepted(snapshot, route, parent)
        if accepted is None:
            continue
        verdicts = [*_with_unsupported(route, accepted), _resolved(snapshot, route, parent)]
        if rejected:
            verdicts.append(Verdict(NOT_TAKEN, False, "RejectedByProxy", rejected))
        reference = {"group": parent.group, "kind": parent.kind} | msgspec.to_builtins(parent)
        known = _known(present, reference)
        made.append(
            {
                "parentRef": reference,
                "controllerName": CONTROLLER,
                "conditions": conditions(route, known, verdicts, now),
            }
        )
    return {"parents": made}


def _known(present: Sequence[Mapping[str, Any]], reference: Status) -> Sequence[Mapping[str, Any]]:
    for item in present:
        if item.get("controllerName") == CONTROLLER and item.get("parentRef") == reference:
            found: Sequence[Mapping[str, Any]] = item.get("conditions", ())
            return found
    return ()


def _accepted(snapshot: MeshSnapshot, route: Route, parent: ParentReference) -> Verdict | None:
    """None when the parent is another controller's to speak of."""
    if is_service(parent):
        return _attached_to_service(snapshot, route, parent)
    if parent.group != GROUP or parent.kind not in ("Gateway", "ListenerSet"):
        return None
    named = served_parent(snapshot, parent, route.namespace)
    if named is None:
        return _no_parent(snapshot, route, parent)
    served, owner = named
    if not is_accepted(served.gateway):
        return Verdict("Accepted", False, "NoMatchingParent", f"{served.gateway.ref} is not accepted")
    found = attach(route, parent, owner, served.listeners, served.namespaces)
    if found.accepted and not any(is_attached(snapshot, served, item, route) for item in found.listeners):
        message = "an older route of the other kind (HTTPRoute, GRPCRoute) has its hostnames"
        return Verdict("Accepted", False, "HostnameConflict", message)
    return Verdict("Accepted", found.accepted, found.reason, found.message)


def _attached_to_service(snapshot: MeshSnapshot, route: Route, parent: ParentReference) -> Verdict:
    shown = f"{parent.kind} {parent.namespace or route.namespace}/{parent.name}"
    if (route.group, route.kind) not in SERVICE_ROUTES:
        return Verdict(
            "Accepted", False, "UnsupportedValue", f"a {route.kind} cannot be attached to a service"
        )
    services = _services(snapshot, route, parent)
    if not services:
        return Verdict("Accepted", False, "NoMatchingParent", f"there is no {shown}")
    ports = [(service, port) for service in services for port in service.ports if names_port(parent, port)]
    if not ports:
        return Verdict("Accepted", False, "NoMatchingParent", f"{shown} has no such port")
    if route.kind in HTTP_ROUTES and not any(_counts(snapshot, route, *item) for item in ports):
        message = "an older route of the other kind (HTTPRoute, GRPCRoute) is attached to the service"
        return Verdict("Accepted", False, "HostnameConflict", message)
    return Verdict("Accepted", True, "Accepted", "The route is attached")


def _services(snapshot: MeshSnapshot, route: Route, parent: ParentReference) -> Sequence[Service]:
    namespace = route.namespace if parent.namespace is None else parent.namespace
    if parent.kind == "ServiceEntry":
        return snapshot.registry.sources.get(Ref(*SERVICE_ENTRY, namespace, parent.name), ())
    found = snapshot.services.get(parent_key(parent, route.namespace, snapshot.settings.cluster_domain))
    return [found] if found is not None else []


def _counts(snapshot: MeshSnapshot, route: Route, service: Service, port: Port) -> bool:
    """Of the routes in one namespace for a port the oldest says whether it is for HTTP or for gRPC."""
    beside = snapshot.service_routes(service, port, route.namespace)
    oldest = next((item for item in beside if item.kind in HTTP_ROUTES), None)
    return oldest is None or oldest.kind == route.kind


def _no_parent(snapshot: MeshSnapshot, route: Route, parent: ParentReference) -> Verdict | None:
    other: Resource[Any] | None = snapshot.resource(parent_ref(parent, route.namespace))
    if other is not None and isinstance(other.spec, GatewaySpec):
        return None
    shown = f"{parent.kind} {parent.namespace or route.namespace}/{parent.name}"
    missing = f"there is no {shown}" if other is None else f"{shown} is attached to no Gateway"
    return Verdict("Accepted", False, "NoMatchingParent", missing)


def _with_unsupported(route: Route, accepted: Verdict) -> list[Verdict]:
    """A route of which no rule can be applied is not accepted; one of which some cannot be is in part."""
    faults = unsupported_rules(route.spec) if isinstance(route.spec, HTTPRouteSpec) else {}
    if not faults or not accepted.holds:
        return [accepted]
    message = "; ".join(faults.values())
    if len(faults) == len(route.spec.rules):
        return [Verdict("Accepted", False, "UnsupportedValue", message)]
    return [accepted, Verdict("PartiallyInvalid", True, "UnsupportedValue", f"Dropped Rule: {message}")]


def _resolved(snapshot: MeshSnapshot, route: Route, parent: ParentReference) -> Verdict:
    client = Client(route.namespace, is_gateway=not is_service(parent))
    for backend in backends_of(route):
        found = resolve_backend(snapshot, client, route, backend)
        if found.target is None:
            return Verdict("ResolvedRefs", False, found.reason, found.message)
    if isinstance(route.spec, HTTPRouteSpec):
        for rule in route.spec.rules:
            for filters in (rule.filters, *(item.filters for item in rule.backend_refs)):
                extension = next((item.extension_ref for item in filters if item.extension_ref), None)
                if extension is not None:
                    message = f"a filter of kind {extension.group}/{extension.kind} is not known"
                    return Verdict("ResolvedRefs", False, "InvalidKind", message)
    return Verdict("ResolvedRefs", True, "ResolvedRefs")


def backends_of(route: Route) -> list[BackendObjectReference]:
    if isinstance(route.spec, HTTPRouteSpec):
        return list(references(route.spec))
    return [item for rule in route.spec.rules for item in rule.backend_refs]
