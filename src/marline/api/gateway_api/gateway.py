"""Gateway API Gateway (gateway-api.sigs.k8s.io, v1)."""

from typing import Final, Literal

from marline.api.faults import Faults
from marline.api.gateway_api.shared import LabelSelector, PortNumber
from marline.api.model import Model
from marline.api.refusals import Refusals
from marline.api.resource import Resource


class SecretObjectReference(Model, frozen=True):
    name: str
    group: str = ""
    kind: str = "Secret"
    namespace: str | None = None


class FrontendTLSValidation(Model, frozen=True):
    ca_certificate_refs: tuple[SecretObjectReference, ...] = ()
    mode: str = ""


class GatewayTLSConfig(Model, frozen=True):
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
    tls: GatewayTLSConfig | None = None
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


class GatewaySpec(Model, frozen=True):
    gateway_class_name: str
    listeners: tuple[Listener, ...]
    addresses: tuple[GatewayAddress, ...] = ()
    infrastructure: GatewayInfrastructure | None = None
    allowed_listeners: AllowedListeners | None = None


REFUSED: Final[Refusals] = {}


def validate(resource: Resource[GatewaySpec], faults: Faults) -> None:
    """The Gateway API's rules for this kind."""
