"""The gateways of an application file."""

from typing import Annotated

from msgspec import Meta, field

from marline.api import rules
from marline.api.core import PortNumber
from marline.api.faults import Faults
from marline.api.model import Model
from marline.node.workload import GatewayPortSpec, GatewaySpec


class GatewayItem(Model, frozen=True):
    namespace: str = "istio-system"
    bind: str = "127.0.0.1"
    service_account: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    ports: tuple["GatewayPortItem", ...] = ()


class GatewayPortItem(Model, frozen=True):
    port: PortNumber
    listen: Annotated[int, Meta(ge=0, le=65535)] = 0
    name: str = ""


def gateway_of(name: str, item: GatewayItem, faults: Faults) -> GatewaySpec:
    rules.dns_label(name, faults)
    rules.dns_label(item.namespace, faults.at("namespace"))
    rules.labels(item.labels, faults.at("labels"))
    faults.required(item.ports, "ports")
    if item.bind and not rules.is_ip(item.bind):
        faults.at("bind").add(f"{item.bind!r} is not an IP address")
    rules.named_once([str(port.port) for port in item.ports], faults.at("ports"), "port")
    listens = [str(port.listen or port.port) for port in item.ports]
    rules.named_once(listens, faults.at("ports"), "a listener at")
    for index, port in enumerate(item.ports):
        if port.name:
            rules.dns_label(port.name, faults.at("ports").item(index).at("name"))
    ports = tuple(GatewayPortSpec(port.port, port.listen, port.name) for port in item.ports)
    return GatewaySpec(name, ports, item.namespace, item.bind, item.service_account, item.labels)
