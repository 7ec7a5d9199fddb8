"""Listeners, which Gateways and ListenerSets have alike (gateway-api.sigs.k8s.io, v1)."""

import re
from typing import Final, Literal

from marline.api import rules
from marline.api.errors import Fault
from marline.api.faults import Faults
from marline.api.gateway_api.route_rules import hostname, limited
from marline.api.gateway_api.shared import LabelSelector, PortNumber, SecretObjectReference
from marline.api.model import Model


class ListenerTLSConfig(Model, frozen=True):
    mode: Literal["Terminate", "Passthrough"] = "Terminate"
    certificate_refs: tuple[SecretObjectReference, ...] = ()
    options: dict[str, str] = {}


class RouteNamespaces(Model, frozen=True):
    from_: Literal["All", "Selector", "Same"] = "Same"
    selector: LabelSelector | None = None


class ListenerNamespaces(Model, frozen=True):
    from_: Literal["All", "Selector", "Same", "None"] = "None"
    selector: LabelSelector | None = None


class RouteGroupKind(Model, frozen=True):
    kind: str
    group: str = "gateway.networking.k8s.io"


class AllowedRoutes(Model, frozen=True):
    namespaces: RouteNamespaces | None = None
    kinds: tuple[RouteGroupKind, ...] = ()


class Listener(Model, frozen=True):
    name: str
    port: PortNumber
    protocol: str
    hostname: str | None = None
    tls: ListenerTLSConfig | None = None
    allowed_routes: AllowedRoutes | None = None


_MAX_LISTENERS: Final = 64
_PROTOCOL: Final = re.compile(
    r"[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?"
    r"|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[A-Za-z0-9]+"
)


def validate_listeners(listeners: tuple[Listener, ...], faults: Faults) -> None:
    """The schema's and the CEL rules of the CRDs. A protocol that nobody serves is a matter of status."""
    if not listeners:
        faults.add("is required: at least one", Fault.REQUIRED)
    limited(listeners, _MAX_LISTENERS, faults)
    rules.named_once([listener.name for listener in listeners], faults, "listener")
    seen: set[tuple[int, str, str]] = set()
    for index, listener in enumerate(listeners):
        key = (listener.port, listener.protocol, (listener.hostname or "").lower())
        if key in seen:
            faults.item(index).add("another listener has the same port, protocol and hostname")
        seen.add(key)
        _listener(listener, faults.item(index))


def _listener(listener: Listener, faults: Faults) -> None:
    rules.dns_subdomain(listener.name, faults.at("name"))
    if len(listener.protocol) > 255 or not _PROTOCOL.fullmatch(listener.protocol):
        faults.at("protocol").add(f"{listener.protocol!r} is not a protocol, such as HTTP or example.com/bar")
    if listener.hostname is not None:
        if listener.protocol in ("TCP", "UDP"):
            faults.at("hostname").add(f"has no effect with protocol {listener.protocol}")
        hostname(listener.hostname, faults.at("hostname"))
    _tls(listener, faults.at("tls"))
    if listener.allowed_routes is not None:
        limited(listener.allowed_routes.kinds, 8, faults.at("allowedRoutes").at("kinds"))
        if listener.allowed_routes.namespaces is not None:
            namespaces(listener.allowed_routes.namespaces, faults.at("allowedRoutes").at("namespaces"))


def _tls(listener: Listener, faults: Faults) -> None:
    settings = listener.tls
    if settings is None:
        if listener.protocol == "TLS":
            faults.add("is required with protocol TLS", Fault.REQUIRED)
        return
    if listener.protocol in ("HTTP", "TCP", "UDP"):
        faults.add(f"has no effect with protocol {listener.protocol}")
    if listener.protocol == "HTTPS" and settings.mode != "Terminate":
        faults.at("mode").add(f"{settings.mode} is not possible with protocol HTTPS; expected Terminate")
    if settings.mode == "Terminate" and not (settings.certificate_refs or settings.options):
        faults.at("certificateRefs").add("is required with mode Terminate", Fault.REQUIRED)
    limited(settings.certificate_refs, 64, faults.at("certificateRefs"))
    limited(tuple(settings.options), 16, faults.at("options"))
    for index, reference in enumerate(settings.certificate_refs):
        secret_reference(reference, faults.at("certificateRefs").item(index))


def secret_reference(reference: SecretObjectReference, faults: Faults) -> None:
    if faults.required(reference.name, "name"):
        rules.dns_subdomain(reference.name, faults.at("name"))
    if reference.namespace is not None:
        rules.dns_label(reference.namespace, faults.at("namespace"))


def namespaces(wanted: RouteNamespaces | ListenerNamespaces, faults: Faults) -> None:
    """Which namespaces: `selector` belongs to `from: Selector`."""
    selector = wanted.selector
    if wanted.from_ == "Selector":
        faults.required(selector, "selector")
    elif selector is not None:
        faults.at("selector").add(f"has no effect with from: {wanted.from_}; expected from: Selector")
    if selector is None:
        return
    rules.labels(selector.match_labels, faults.at("selector").at("matchLabels"))
    for index, item in enumerate(selector.match_expressions):
        where = faults.at("selector").at("matchExpressions").item(index)
        rules.labels({item.key: ""}, where.at("key"))
        if item.operator in ("In", "NotIn"):
            where.required(item.values, "values")
        elif item.values:
            where.at("values").add(f"have no meaning with operator {item.operator}")
