"""What Gateways and ListenerSets are told about themselves and their listeners.

Conditions and reasons: gateway-api.sigs.k8s.io, `GatewayStatus`, `ListenerStatus`, `ListenerSetStatus`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from marline.api.gateway_api.gateway import GatewaySpec
from marline.api.gateway_api.listener_set import ListenerSetSpec
from marline.api.gateway_api.shared import GROUP
from marline.api.resource import Resource
from marline.compile.backend_tls import shown_to_backends
from marline.compile.gateway_api_conditions import Status, Verdict, conditions, own_conditions
from marline.compile.gateway_api_listeners import BoundListener, overlapping
from marline.compile.gateway_api_served import ServedGateway, attached_routes
from marline.compile.gateway_api_tls import INSECURE, authority_of, certificate_of, frontend_validation
from marline.compile.gateway_hosts import common_host
from marline.mesh.gateways import is_accepted
from marline.mesh.model import Proxy
from marline.mesh.snapshot import MeshSnapshot


def gateway_status(
    snapshot: MeshSnapshot, served: ServedGateway, proxies: Sequence[Proxy], rejected: str, now: str
) -> Status:
    """`proxies` are those of the Gateway that are connected."""
    gateway = served.gateway
    addresses = sorted({proxy.bind_address for proxy in proxies if proxy.bind_address})
    listeners = [item for item in served.listeners if item.owner.ref == gateway.ref]
    entries, sound = _listener_entries(snapshot, served, gateway, listeners, now)
    accepted = _gateway_accepted(gateway, sound, some=_any_holds(entries, "Accepted"))
    programmed = Verdict("Programmed", True, "Programmed", "The configuration is sent to its proxies")
    unusable = [item.value for item in gateway.spec.addresses if item.value and item.value not in addresses]
    if not accepted.holds:
        programmed = Verdict("Programmed", False, "Invalid", "The Gateway is not accepted")
    elif rejected:
        programmed = Verdict("Programmed", False, "Invalid", rejected)
    elif unusable:
        message = f"no proxy of the Gateway has the address {unusable[0]}"
        programmed = Verdict("Programmed", False, "AddressNotUsable", message)
    elif not proxies:
        programmed = Verdict("Programmed", False, "Pending", "No proxy serves it yet")
    verdicts = [accepted, programmed, *_tls_verdicts(snapshot, served)]
    attached = {item.owner.ref for item in served.listeners if not item.conflict} - {gateway.ref}
    return {
        "conditions": conditions(gateway, own_conditions(gateway), verdicts, now),
        "listeners": entries,
        "attachedListenerSets": len(attached),
        "addresses": [{"type": "IPAddress", "value": address} for address in addresses],
    }


def _any_holds(entries: Iterable[Status], kind: str) -> bool:
    """Is there a listener of which this condition is true?"""
    told = (condition for entry in entries for condition in entry["conditions"])
    return any((item["type"], item["status"]) == (kind, "True") for item in told)


def _tls_verdicts(snapshot: MeshSnapshot, served: ServedGateway) -> Iterator[Verdict]:
    """Of the TLS settings of the whole Gateway."""
    tls = served.gateway.spec.tls
    if tls is not None and tls.backend is not None and tls.backend.client_certificate_ref is not None:
        yield Verdict("ResolvedRefs", *shown_to_backends(snapshot, served.gateway))
    found = (frontend_validation(served.gateway, item) for item in served.listeners)
    if any(item is not None and item.mode == INSECURE for item in found):
        message = "Clients are served whose certificates nobody vouches for"
        yield Verdict("InsecureFrontendValidationMode", True, "ConfigurationChanged", message)


def _gateway_accepted(gateway: Resource[GatewaySpec], sound: bool, *, some: bool) -> Verdict:
    if not is_accepted(gateway):
        infrastructure = gateway.spec.infrastructure
        if infrastructure is not None and infrastructure.parameters_ref is not None:
            kind = infrastructure.parameters_ref.kind
            message = f"infrastructure.parametersRef: no kind of parameters is known, such as {kind}"
            return Verdict("Accepted", False, "InvalidParameters", message)
        unknown = next(item.type for item in gateway.spec.addresses if item.type != "IPAddress")
        message = f"addresses of type {unknown} are not supported"
        return Verdict("Accepted", False, "UnsupportedAddress", message)
    if gateway.spec.listeners and not some:
        message = "No listener is served; see their conditions"
        return Verdict("Accepted", False, "ListenersNotValid", message)
    if not sound:
        message = "Some listeners are not served; see their conditions"
        return Verdict("Accepted", True, "ListenersNotValid", message)
    return Verdict("Accepted", True, "Accepted", "The Gateway is served")


def listener_set_status(
    snapshot: MeshSnapshot, served: ServedGateway | None, owner: Resource[ListenerSetSpec], now: str
) -> Status:
    """`served` is the Gateway that it is attached to; None when that does not allow it."""
    if served is None:
        message = "The Gateway does not allow ListenerSets of this namespace (allowedListeners)"
        reasons = (False, "NotAllowed", message)
        verdicts = [Verdict("Accepted", *reasons), Verdict("Programmed", *reasons)]
        return {"conditions": conditions(owner, own_conditions(owner), verdicts, now), "listeners": []}
    listeners = [item for item in served.listeners if item.owner.ref == owner.ref]
    entries, sound = _listener_entries(snapshot, served, owner, listeners, now)
    if not is_accepted(served.gateway):
        reasons = (False, "ParentNotAccepted", f"{served.gateway.ref} is not accepted")
        verdicts = [Verdict("Accepted", *reasons), Verdict("Programmed", *reasons)]
    elif not _any_holds(entries, "Programmed"):
        reasons = (False, "ListenersNotValid", "No listener is served; see their conditions")
        verdicts = [Verdict("Accepted", *reasons), Verdict("Programmed", *reasons)]
    else:
        reason = "Accepted" if sound else "ListenersNotValid"
        message = "" if sound else "Some listeners are not served; see their conditions"
        verdicts = [Verdict("Accepted", True, reason, message), Verdict("Programmed", True, "Programmed")]
    return {
        "conditions": conditions(owner, own_conditions(owner), verdicts, now),
        "listeners": entries,
    }


def _listener_entries(
    snapshot: MeshSnapshot,
    served: ServedGateway,
    owner: Resource[Any],
    listeners: Iterable[BoundListener],
    now: str,
) -> tuple[list[Status], bool]:
    """An entry for each listener, and whether all are served."""
    known = {item.get("name"): item for item in owner.status.get("listeners", ())}
    entries: list[Status] = []
    sound = True
    for bound in listeners:
        verdicts = _verdicts(snapshot, served, bound)
        sound = sound and verdicts[0].holds
        before: Mapping[str, Any] = known.get(bound.listener.name, {})
        entries.append(
            {
                "name": bound.listener.name,
                "supportedKinds": [{"group": GROUP, "kind": kind} for kind in bound.wanted_kinds],
                "attachedRoutes": len(attached_routes(snapshot, served).get(bound.key, ())),
                "conditions": conditions(owner, before.get("conditions", ()), verdicts, now),
            }
        )
    return entries, sound


def _verdicts(snapshot: MeshSnapshot, served: ServedGateway, bound: BoundListener) -> list[Verdict]:
    accepted = _is_accepted(snapshot, served.gateway, bound)
    resolved = _resolved(snapshot, served.gateway, bound)
    usable = accepted.holds and (resolved.holds or resolved.reason == "InvalidRouteKinds")
    reason = "Programmed" if usable else bound.conflict or "Invalid"
    found = [
        accepted,
        Verdict("Conflicted", bool(bound.conflict), bound.conflict or "NoConflicts"),
        resolved,
        Verdict("Programmed", usable, reason, "" if usable else "It is not served"),
    ]
    overlaps = [
        other.listener.name
        for other in overlapping(bound, served.listeners)
        if common_host(bound.hostname, other.hostname)
    ]
    if overlaps and not bound.conflict:
        message = f"It has hosts in common with {', '.join(overlaps)}; requests for another are sent back"
        found.append(Verdict("OverlappingTLSConfig", True, "OverlappingHostnames", message))
    return found


def _is_accepted(snapshot: MeshSnapshot, gateway: Resource[GatewaySpec], bound: BoundListener) -> Verdict:
    listener = bound.listener
    if not bound.route_kinds:
        message = f"protocol {listener.protocol} is not served; HTTP, HTTPS, TLS, TCP and UDP are"
        return Verdict("Accepted", False, "UnsupportedProtocol", message)
    if bound.conflict:
        return Verdict("Accepted", False, bound.conflict, "Another listener has the same port")
    if bound.unknown_option:
        message = f"tls.options: {bound.unknown_option!r} is not known"
        return Verdict("Accepted", False, "UnsupportedValue", message)
    validation = frontend_validation(gateway, bound)
    if validation is not None and len(validation.ca_certificate_refs) > 1:
        message = "validation.caCertificateRefs: more than one is not supported"
        return Verdict("Accepted", False, "UnsupportedValue", message)
    if validation is not None:
        authority = authority_of(snapshot, gateway, validation)
        if not authority.name:
            return Verdict("Accepted", False, "NoValidCACertificate", authority.message)
    return Verdict("Accepted", True, "Accepted", "The listener is served")


def _resolved(snapshot: MeshSnapshot, gateway: Resource[GatewaySpec], bound: BoundListener) -> Verdict:
    tls = bound.listener.tls
    certificates = tls.certificate_refs if tls is not None and not bound.passes_through else ()
    if bound.listener.protocol == "HTTPS" and not certificates:
        return Verdict("ResolvedRefs", False, "InvalidCertificateRef", "HTTPS needs a certificateRef")
    for reference in certificates:
        found = certificate_of(snapshot, bound, reference)
        if not found.name:
            return Verdict("ResolvedRefs", False, found.reason, found.message)
    validation = frontend_validation(gateway, bound)
    if validation is not None:
        authority = authority_of(snapshot, gateway, validation)
        if not authority.name:
            return Verdict("ResolvedRefs", False, authority.reason, authority.message)
    allowed = bound.listener.allowed_routes
    kinds = allowed.kinds if allowed is not None else ()
    if any(item.group != GROUP or item.kind not in bound.route_kinds for item in kinds):
        possible = " and ".join(bound.route_kinds) or "none"
        message = f"allowedRoutes.kinds: a {bound.listener.protocol} listener can have {possible}"
        return Verdict("ResolvedRefs", False, "InvalidRouteKinds", message)
    return Verdict("ResolvedRefs", True, "ResolvedRefs")
