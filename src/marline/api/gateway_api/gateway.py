"""Gateway API Gateway (gateway-api.sigs.k8s.io, v1)."""

from typing import Final, Literal

from marline.api import rules
from marline.api.errors import Fault
from marline.api.faults import Faults, nearest
from marline.api.gateway_api.route_rules import hostname, limited
from marline.api.gateway_api.shared import LabelSelector, PortNumber
from marline.api.model import Model
from marline.api.refusals import Refusals
from marline.api.resource import Resource


class SecretObjectReference(Model, frozen=True):
    name: str
    group: str = ""
    kind: str = "Secret"
    namespace: str | None = None


class ObjectReference(Model, frozen=True):
    group: str
    kind: str
    name: str
    namespace: str | None = None


class FrontendTLSValidation(Model, frozen=True):
    ca_certificate_refs: tuple[ObjectReference, ...] = ()
    mode: Literal["AllowValidOnly", "AllowInsecureFallback"] = "AllowValidOnly"


class ListenerTLSConfig(Model, frozen=True):
    mode: Literal["Terminate", "Passthrough"] = "Terminate"
    certificate_refs: tuple[SecretObjectReference, ...] = ()
    frontend_validation: FrontendTLSValidation | None = None
    options: dict[str, str] = {}


class RouteNamespaces(Model, frozen=True):
    from_: Literal["All", "Selector", "Same", "None"] = "Same"
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


class GatewayAddress(Model, frozen=True):
    value: str = ""
    type: str = "IPAddress"


class InfrastructureParameters(Model, frozen=True):
    group: str
    kind: str
    name: str


class GatewayInfrastructure(Model, frozen=True):
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    parameters_ref: InfrastructureParameters | None = None


class AllowedListeners(Model, frozen=True):
    namespaces: RouteNamespaces | None = None


class TLSConfig(Model, frozen=True):
    validation: FrontendTLSValidation | None = None


class TLSPortConfig(Model, frozen=True):
    port: PortNumber
    tls: TLSConfig


class FrontendTLSConfig(Model, frozen=True):
    default: TLSConfig
    per_port: tuple[TLSPortConfig, ...] = ()


class GatewayBackendTLS(Model, frozen=True):
    client_certificate_ref: SecretObjectReference | None = None


class GatewayTLSConfig(Model, frozen=True):
    backend: GatewayBackendTLS | None = None
    frontend: FrontendTLSConfig | None = None


class GatewaySpec(Model, frozen=True):
    gateway_class_name: str
    listeners: tuple[Listener, ...]
    addresses: tuple[GatewayAddress, ...] = ()
    infrastructure: GatewayInfrastructure | None = None
    allowed_listeners: AllowedListeners | None = None
    tls: GatewayTLSConfig | None = None
    default_scope: Literal["All", "None"] | None = None


_HTTP_ONLY: Final = "a Gateway of this API serves HTTP and HTTPS; use Istio's Gateway"

REFUSED: Final[Refusals] = {
    "addresses": "a gateway listens on the address that it was started with",
    "infrastructure": "a gateway's proxy is described in an application file, not made from a Gateway",
    "allowedListeners": "listeners from ListenerSets",
    "tls": "TLS settings of the whole Gateway",
    "defaultScope=All": "default gateways; routes name their Gateway in parentRefs",
    "listeners[].protocol=TLS": _HTTP_ONLY,
    "listeners[].protocol=TCP": _HTTP_ONLY,
    "listeners[].protocol=UDP": _HTTP_ONLY,
    "listeners[].tls.mode=Passthrough": _HTTP_ONLY,
    "listeners[].tls.frontendValidation": "client certificates; use Istio's Gateway with mode MUTUAL",
    "listeners[].tls.options": "no option is known",
}

_PROTOCOLS: Final = ("HTTP", "HTTPS", "TLS", "TCP", "UDP")
_MAX_LISTENERS: Final = 64


def validate(resource: Resource[GatewaySpec], faults: Faults) -> None:
    """The schema's and the CEL rules of Gateway's CRD. Listeners that conflict are a matter of status."""
    spec = resource.spec
    if faults.required(spec.gateway_class_name, "gatewayClassName"):
        rules.dns_subdomain(spec.gateway_class_name, faults.at("gatewayClassName"))
    where = faults.at("listeners")
    if not spec.listeners:
        where.add("is required: at least one", Fault.REQUIRED)
    limited(spec.listeners, _MAX_LISTENERS, where)
    rules.named_once([listener.name for listener in spec.listeners], where, "listener")
    seen: set[tuple[int, str, str]] = set()
    for index, listener in enumerate(spec.listeners):
        key = (listener.port, listener.protocol, (listener.hostname or "").lower())
        if key in seen:
            where.item(index).add("another listener has the same port, protocol and hostname")
        seen.add(key)
        _listener(listener, where.item(index))


def _listener(listener: Listener, faults: Faults) -> None:
    rules.dns_subdomain(listener.name, faults.at("name"))
    if listener.protocol not in _PROTOCOLS:
        message = f"{listener.protocol!r} is not one of {', '.join(_PROTOCOLS)}"
        faults.at("protocol").add(message, suggestion=nearest(listener.protocol, _PROTOCOLS))
        return
    if listener.hostname is not None:
        if listener.protocol in ("TCP", "UDP"):
            faults.at("hostname").add(f"has no effect with protocol {listener.protocol}")
        hostname(listener.hostname, faults.at("hostname"))
    _tls(listener, faults.at("tls"))
    if listener.allowed_routes is not None:
        limited(listener.allowed_routes.kinds, 8, faults.at("allowedRoutes").at("kinds"))
        if listener.allowed_routes.namespaces is not None:
            _namespaces(listener.allowed_routes.namespaces, faults.at("allowedRoutes").at("namespaces"))


def _tls(listener: Listener, faults: Faults) -> None:
    settings = listener.tls
    if settings is None:
        if listener.protocol in ("HTTPS", "TLS"):
            faults.add(f"is required with protocol {listener.protocol}", Fault.REQUIRED)
        return
    if listener.protocol not in ("HTTPS", "TLS"):
        faults.add(f"has no effect with protocol {listener.protocol}")
    if listener.protocol == "HTTPS" and settings.mode != "Terminate":
        faults.at("mode").add(f"{settings.mode} is not possible with protocol HTTPS; expected Terminate")
    if settings.mode == "Terminate" and not settings.certificate_refs:
        faults.at("certificateRefs").add("is required with mode Terminate", Fault.REQUIRED)
    limited(settings.certificate_refs, 64, faults.at("certificateRefs"))
    for index, reference in enumerate(settings.certificate_refs):
        where = faults.at("certificateRefs").item(index)
        if where.required(reference.name, "name"):
            rules.dns_subdomain(reference.name, where.at("name"))
        if reference.namespace is not None:
            rules.dns_label(reference.namespace, where.at("namespace"))


def _namespaces(namespaces: RouteNamespaces, faults: Faults) -> None:
    selector = namespaces.selector
    if namespaces.from_ == "Selector":
        faults.required(selector, "selector")
    elif selector is not None:
        faults.at("selector").add(f"has no effect with from: {namespaces.from_}; expected from: Selector")
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
