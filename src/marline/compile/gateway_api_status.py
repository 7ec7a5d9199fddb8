"""What the Gateway API's resources are told about themselves: status conditions.

Conditions and reasons: gateway-api.sigs.k8s.io, "Implementer's guide" and the reference of each kind.
Pure: the time comes in as text, and a condition keeps its time of transition while its status lasts.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from marline.api.gateway_api.gateway import GatewaySpec, Listener
from marline.api.gateway_api.http_route import HTTPRouteSpec
from marline.api.gateway_api.shared import GROUP, ParentReference
from marline.api.resource import Ref, Resource
from marline.compile.gateway_api import (
    backend_target,
    certificate_reference,
    conflicting_listeners,
    listener_routes,
)
from marline.compile.gateway_api_attach import HTTP_PROTOCOLS, ROUTE_KINDS, attach, names_gateway
from marline.compile.gateway_api_rules import references
from marline.compile.gateway_lookup import (
    api_gateways,
    api_routes,
    gateway_classes,
    namespace_labels,
)
from marline.mesh.gateways import CONTROLLERS, is_managed, serves
from marline.mesh.model import Proxy
from marline.mesh.snapshot import MeshSnapshot

CONTROLLER: Final = CONTROLLERS[0]
NOT_TAKEN: Final = "marline.dev/Programmed"
"""Of a route that a proxy rejects, and only then: the specification has no condition for that."""
Status = dict[str, Any]
Namespaces = Mapping[str, Mapping[str, str]]
ListenerRoutes = Mapping[str, list[Resource[HTTPRouteSpec]]]
"""The routes attached to a Gateway's listeners, by their names."""


def statuses(
    snapshot: MeshSnapshot,
    now: str,
    proxies: Sequence[Proxy] = (),
    rejected: Callable[[Ref], str] = lambda ref: "",
) -> tuple[tuple[Ref, Status], ...]:
    """The statuses that differ from what the resources say now, for GatewayClass, Gateway and routes.

    `now` is the RFC 3339 time of conditions that change; `proxies` are the gateways' that are
    connected; `rejected` says why proxies do not take what was made of a resource, or "".
    """
    found: list[tuple[Ref, Status]] = []
    for resource in gateway_classes(snapshot):
        if resource.spec.controller_name in CONTROLLERS:
            accepted = [("Accepted", True, "Accepted", "Marline serves Gateways of this class")]
            found.extend(_changed(resource, {"conditions": _conditions(resource, (), accepted, now)}))
    managed = [gateway for gateway in api_gateways(snapshot) if is_managed(snapshot, gateway)]
    attached = {gateway.ref: listener_routes(snapshot, gateway) for gateway in managed}
    for gateway in managed:
        addresses = sorted({proxy.bind_address for proxy in proxies if serves(proxy, gateway)})
        status = _gateway_status(
            snapshot, gateway, attached[gateway.ref], now, addresses, rejected(gateway.ref)
        )
        found.extend(_changed(gateway, status))
    namespaces = namespace_labels(snapshot)
    for route in api_routes(snapshot):
        status = _route_status(snapshot, route, managed, attached, namespaces, now, rejected(route.ref))
        found.extend(_changed(route, status))
    return tuple(found)


def _changed(resource: Resource[Any], status: Status) -> list[tuple[Ref, Status]]:
    merged = {**resource.status, **status}
    return [] if merged == dict(resource.status) else [(resource.ref, merged)]


Verdict = tuple[str, bool, str, str]
"""Type, status, reason and message of a condition."""


def _conditions(
    resource: Resource[Any], known: Sequence[Mapping[str, Any]], verdicts: Sequence[Verdict], now: str
) -> list[Status]:
    """Conditions for the resource's generation; `known` are the present ones (default: the status' own)."""
    present = {item.get("type"): item for item in known or resource.status.get("conditions", ())}
    made: list[Status] = []
    for kind, holds, reason, message in verdicts:
        status = "True" if holds else "False"
        before = present.get(kind)
        same = before is not None and before.get("status") == status
        made.append(
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": message,
                "observedGeneration": resource.metadata.generation,
                "lastTransitionTime": before["lastTransitionTime"] if before and same else now,
            }
        )
    return made


def _gateway_status(
    snapshot: MeshSnapshot,
    gateway: Resource[GatewaySpec],
    attached: ListenerRoutes,
    now: str,
    addresses: Sequence[str],
    rejected: str,
) -> Status:
    conflicts = conflicting_listeners(gateway)
    known = {item.get("name"): item for item in gateway.status.get("listeners", ())}
    listeners: list[Status] = []
    sound = True
    for listener in gateway.spec.listeners:
        verdicts = _listener_verdicts(snapshot, gateway, listener, conflicts)
        sound = sound and verdicts[0][1]
        before: Sequence[Mapping[str, Any]] = known.get(listener.name, {}).get("conditions") or ({},)
        listeners.append(
            {
                "name": listener.name,
                "supportedKinds": _supported_kinds(listener),
                "attachedRoutes": len(attached.get(listener.name, ())),
                "conditions": _conditions(gateway, before, verdicts, now),
            }
        )
    accepted = ("Accepted", True, "Accepted", "The Gateway is served")
    if not sound:
        accepted = (
            "Accepted",
            True,
            "ListenersNotValid",
            "Some listeners are not served; see their conditions",
        )
    programmed = ("Programmed", True, "Programmed", "The configuration is sent to the gateway's proxies")
    if rejected:
        programmed = ("Programmed", False, "Invalid", rejected)
    elif not addresses:
        programmed = ("Programmed", False, "Pending", "No proxy serves it yet")
    return {
        "addresses": [{"type": "IPAddress", "value": address} for address in addresses if address],
        "conditions": _conditions(gateway, (), [accepted, programmed], now),
        "listeners": listeners,
    }


def _listener_verdicts(
    snapshot: MeshSnapshot, gateway: Resource[GatewaySpec], listener: Listener, conflicts: Mapping[str, str]
) -> list[Verdict]:
    conflict = conflicts.get(listener.name)
    supported = listener.protocol in HTTP_PROTOCOLS
    if not supported:
        message = f"protocol {listener.protocol} is not supported; HTTP and HTTPS are"
        accepted: Verdict = ("Accepted", False, "UnsupportedProtocol", message)
    elif conflict is not None:
        accepted = ("Accepted", False, conflict, "An earlier listener has the same port")
    else:
        accepted = ("Accepted", True, "Accepted", "The listener is served")
    resolved = _resolved(snapshot, gateway, listener)
    usable = accepted[1] and (resolved[1] or resolved[2] == "InvalidRouteKinds")
    return [
        accepted,
        ("Conflicted", conflict is not None, conflict or "NoConflicts", ""),
        resolved,
        ("Programmed", usable, "Programmed" if usable else "Invalid", "" if usable else "It is not served"),
    ]


def _resolved(snapshot: MeshSnapshot, gateway: Resource[GatewaySpec], listener: Listener) -> Verdict:
    certificates = listener.tls.certificate_refs if listener.tls is not None else ()
    if listener.protocol == "HTTPS" and not certificates:
        return ("ResolvedRefs", False, "InvalidCertificateRef", "an HTTPS listener needs a certificateRef")
    for reference in certificates:
        name, reason, message = certificate_reference(snapshot, gateway, reference)
        if not name:
            return ("ResolvedRefs", False, reason, message)
    kinds = listener.allowed_routes.kinds if listener.allowed_routes is not None else ()
    if any(item.group != GROUP or item.kind not in ROUTE_KINDS for item in kinds):
        return ("ResolvedRefs", False, "InvalidRouteKinds", f"only {' and '.join(ROUTE_KINDS)} are served")
    return ("ResolvedRefs", True, "ResolvedRefs", "")


def _supported_kinds(listener: Listener) -> list[Status]:
    kinds = listener.allowed_routes.kinds if listener.allowed_routes is not None else ()
    if listener.protocol not in HTTP_PROTOCOLS:
        return []
    named = {item.kind for item in kinds if item.group == GROUP} if kinds else ROUTE_KINDS
    return [{"group": GROUP, "kind": kind} for kind in ROUTE_KINDS if kind in named]


def _route_status(
    snapshot: MeshSnapshot,
    route: Resource[HTTPRouteSpec],
    gateways: Sequence[Resource[GatewaySpec]],
    attached: Mapping[Ref, ListenerRoutes],
    namespaces: Namespaces,
    now: str,
    rejected: str,
) -> Status:
    present = list(route.status.get("parents", ()))
    parents = [item for item in present if item.get("controllerName") != CONTROLLER]
    for parent in route.spec.parent_refs:
        accepted = _route_accepted(snapshot, route, parent, gateways, attached, namespaces)
        if accepted is None:
            continue
        reference = {"group": parent.group, "kind": parent.kind} | msgspec.to_builtins(parent)
        before: Mapping[str, Any] = next(
            (
                item
                for item in present
                if item.get("controllerName") == CONTROLLER and item.get("parentRef") == reference
            ),
            {},
        )
        verdicts = [accepted, _route_resolved(snapshot, route)]
        if rejected:
            verdicts.append((NOT_TAKEN, False, "RejectedByProxy", rejected))
        parents.append(
            {
                "parentRef": reference,
                "controllerName": CONTROLLER,
                "conditions": _conditions(route, before.get("conditions") or ({},), verdicts, now),
            }
        )
    return {"parents": parents}


def _route_accepted(
    snapshot: MeshSnapshot,
    route: Resource[HTTPRouteSpec],
    parent: ParentReference,
    gateways: Sequence[Resource[GatewaySpec]],
    attached: Mapping[Ref, ListenerRoutes],
    namespaces: Namespaces,
) -> Verdict | None:
    """None when the parent is another controller's to speak of."""
    if (parent.group, parent.kind) == ("", "Service"):
        message = "routes of a Service (GAMMA) are not served; use a VirtualService"
        return ("Accepted", False, "UnsupportedValue", message)
    if (parent.group, parent.kind) != (GROUP, "Gateway"):
        return None
    gateway = next((item for item in gateways if names_gateway(parent, route.namespace, item)), None)
    if gateway is None:
        if any(names_gateway(parent, route.namespace, item) for item in api_gateways(snapshot)):
            return None
        message = f"there is no Gateway {parent.namespace or route.namespace}/{parent.name}"
        return ("Accepted", False, "NoMatchingParent", message)
    made = attach(route, parent, gateway, namespaces)
    here = attached[gateway.ref]
    if made.accepted and not any(route in here.get(item.name, ()) for item in made.listeners):
        message = "an older route of the other kind (HTTPRoute, GRPCRoute) has its hostnames"
        return ("Accepted", False, "HostnameConflict", message)
    return ("Accepted", made.accepted, made.reason, made.message)


def _route_resolved(snapshot: MeshSnapshot, route: Resource[HTTPRouteSpec]) -> Verdict:
    for backend in references(route.spec):
        target, reason, message = backend_target(snapshot, route.namespace, {}, route, backend)
        if target is None:
            return ("ResolvedRefs", False, reason, message)
    return ("ResolvedRefs", True, "ResolvedRefs", "")
