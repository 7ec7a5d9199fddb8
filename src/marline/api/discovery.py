"""discovery.k8s.io/v1 EndpointSlice (kubernetes.io API reference)."""

from typing import Annotated, Literal

from msgspec import Meta

from marline.api import rules
from marline.api.core import ObjectReference
from marline.api.errors import Fault
from marline.api.faults import Faults
from marline.api.model import Model
from marline.api.resource import Resource


class EndpointConditions(Model, frozen=True):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForZone(Model, frozen=True):
    name: str


class ForNode(Model, frozen=True):
    name: str


class EndpointHints(Model, frozen=True):
    for_zones: tuple[ForZone, ...] = ()
    for_nodes: tuple[ForNode, ...] = ()


class SliceEndpoint(Model, frozen=True):
    addresses: tuple[str, ...]
    conditions: EndpointConditions | None = None
    hostname: str | None = None
    node_name: str | None = None
    target_ref: ObjectReference | None = None
    zone: str | None = None
    deprecated_topology: dict[str, str] = {}
    hints: EndpointHints | None = None


class EndpointPort(Model, frozen=True):
    name: str | None = None
    protocol: Literal["TCP", "UDP", "SCTP"] | None = None
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    app_protocol: str | None = None


class EndpointSliceBody(Model, frozen=True):
    address_type: Literal["IPv4", "IPv6", "FQDN"]
    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


def validate(resource: Resource[EndpointSliceBody], faults: Faults) -> None:
    """Kubernetes' rules for an EndpointSlice."""
    spec = resource.spec
    if spec.address_type == "FQDN":
        faults.at("addressType").unsupported("FQDN is not acted on: use a ServiceEntry with resolution DNS")
    for index, endpoint in enumerate(spec.endpoints):
        where = faults.at("endpoints").item(index).at("addresses")
        if not endpoint.addresses:
            where.add("is required", Fault.REQUIRED)
        for number, address in enumerate(endpoint.addresses):
            if spec.address_type != "FQDN" and not rules.is_ip(address):
                where.item(number).add(f"{address!r} is not an IP address")
    rules.named_once([port.name or "" for port in spec.ports], faults.at("ports"), "port")
