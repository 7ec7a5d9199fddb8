"""Gateway API Gateway (gateway-api.sigs.k8s.io, v1)."""

from typing import Final, Literal

from marline.api import rules
from marline.api.errors import Fault
from marline.api.faults import Faults
from marline.api.gateway_api.listener import (
    Listener,
    ListenerNamespaces,
    namespaces,
    secret_reference,
    validate_listeners,
)
from marline.api.gateway_api.route_rules import hostname, limited
from marline.api.gateway_api.shared import PortNumber, SecretObjectReference
from marline.api.model import Model
from marline.api.resource import Resource


class ObjectReference(Model, frozen=True):
    group: str
    kind: str
    name: str
    namespace: str | None = None


class FrontendTLSValidation(Model, frozen=True):
    ca_certificate_refs: tuple[ObjectReference, ...] = ()
    mode: Literal["AllowValidOnly", "AllowInsecureFallback"] = "AllowValidOnly"


class GatewayAddress(Model, frozen=True):
    value: str = ""
    type: str = "IPAddress"


class InfrastructureParameters(Model, frozen=True):
    group: str
    kind: str
    name: str


class GatewayInfrastructure(Model, frozen=True):
    """Labels become those of the Gateway's own proxy. Annotations are kept with the Gateway: a process has
    nothing that they could be written on."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    parameters_ref: InfrastructureParameters | None = None


class AllowedListeners(Model, frozen=True):
    """Without namespaces: none."""

    namespaces: ListenerNamespaces | None = None


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


_MAX_ADDRESSES: Final = 16


def validate(resource: Resource[GatewaySpec], faults: Faults) -> None:
    """The schema's and the CEL rules of Gateway's CRD. Listeners that conflict, and what is asked for and
    not served, are a matter of status."""
    spec = resource.spec
    if faults.required(spec.gateway_class_name, "gatewayClassName"):
        rules.dns_subdomain(spec.gateway_class_name, faults.at("gatewayClassName"))
    validate_listeners(spec.listeners, faults.at("listeners"))
    _addresses(spec.addresses, faults.at("addresses"))
    if spec.infrastructure is not None:
        where = faults.at("infrastructure")
        rules.labels(spec.infrastructure.labels, where.at("labels"))
        limited(tuple(spec.infrastructure.labels), 8, where.at("labels"))
        limited(tuple(spec.infrastructure.annotations), 16, where.at("annotations"))
    if spec.allowed_listeners is not None and spec.allowed_listeners.namespaces is not None:
        namespaces(spec.allowed_listeners.namespaces, faults.at("allowedListeners").at("namespaces"))
    if spec.tls is not None:
        _tls(spec.tls, faults.at("tls"))


def _addresses(addresses: tuple[GatewayAddress, ...], faults: Faults) -> None:
    limited(addresses, _MAX_ADDRESSES, faults)
    for index, address in enumerate(addresses):
        where = faults.item(index).at("value")
        if address.type == "Hostname" and address.value:
            hostname(address.value, where)
        elif address.type == "IPAddress" and address.value:
            where.require(rules.is_ip(address.value), f"{address.value!r} is not an IP address")
        if address.value and address in addresses[:index]:
            where.add(f"{address.value!r} is there twice")


def _tls(settings: GatewayTLSConfig, faults: Faults) -> None:
    if settings.backend is not None and settings.backend.client_certificate_ref is not None:
        secret_reference(
            settings.backend.client_certificate_ref, faults.at("backend").at("clientCertificateRef")
        )
    if settings.frontend is None:
        return
    where = faults.at("frontend")
    _validation(settings.frontend.default.validation, where.at("default").at("validation"))
    ports = [str(item.port) for item in settings.frontend.per_port]
    rules.named_once(ports, where.at("perPort"), "port")
    for index, item in enumerate(settings.frontend.per_port):
        _validation(item.tls.validation, where.at("perPort").item(index).at("tls").at("validation"))


def _validation(validation: FrontendTLSValidation | None, faults: Faults) -> None:
    if validation is None:
        return
    where = faults.at("caCertificateRefs")
    if not validation.ca_certificate_refs:
        where.add("is required: at least one", Fault.REQUIRED)
    limited(validation.ca_certificate_refs, 16, where)
    for index, reference in enumerate(validation.ca_certificate_refs):
        where.item(index).required(reference.name, "name")
