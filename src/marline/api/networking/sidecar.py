"""Sidecar: what a workload's proxy sees of the mesh (istio.io, "Sidecar" reference)."""

from typing import Annotated, Literal

from msgspec import Meta

from marline.api.model import Model, NetworkingSelector
from marline.api.networking.destination_rule import ConnectionPoolSettings
from marline.api.networking.gateway import ServerTLSSettings
from marline.api.networking.virtual_service import Destination

CaptureMode = Literal["DEFAULT", "IPTABLES", "NONE"]


class SidecarPort(Model, frozen=True):
    number: Annotated[int, Meta(ge=0, le=65535)] = 0
    protocol: str = ""
    name: str = ""
    target_port: Annotated[int, Meta(ge=0, le=65535)] = 0


class IstioIngressListener(Model, frozen=True):
    port: SidecarPort
    bind: str = ""
    capture_mode: CaptureMode = "DEFAULT"
    default_endpoint: str = ""
    tls: ServerTLSSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None


class IstioEgressListener(Model, frozen=True):
    hosts: tuple[str, ...]
    port: SidecarPort | None = None
    bind: str = ""
    capture_mode: CaptureMode = "DEFAULT"


class OutboundTrafficPolicy(Model, frozen=True):
    mode: Literal["REGISTRY_ONLY", "ALLOW_ANY"] = "REGISTRY_ONLY"
    egress_proxy: Destination | None = None


class SidecarSpec(Model, frozen=True):
    workload_selector: NetworkingSelector | None = None
    ingress: tuple[IstioIngressListener, ...] = ()
    egress: tuple[IstioEgressListener, ...] = ()
    inbound_connection_pool: ConnectionPoolSettings | None = None
    outbound_traffic_policy: OutboundTrafficPolicy | None = None
