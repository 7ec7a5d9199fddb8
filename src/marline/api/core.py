"""core/v1: Namespace, Service, Secret, ConfigMap, Event (kubernetes.io API reference)."""

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta, field

from marline.api import rules
from marline.api.errors import Fault
from marline.api.faults import Faults
from marline.api.model import Model
from marline.api.refusals import Refusals
from marline.api.resource import Resource

PortNumber = Annotated[int, Meta(ge=1, le=65535)]


class NamespaceSpec(Model, frozen=True):
    finalizers: tuple[str, ...] = ()


class ServicePort(Model, frozen=True):
    port: PortNumber
    name: str = ""
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"
    app_protocol: str | None = None
    target_port: int | str | None = None
    node_port: Annotated[int, Meta(ge=0, le=65535)] = 0


class ClientIPConfig(Model, frozen=True):
    timeout_seconds: int | None = None


class SessionAffinityConfig(Model, frozen=True):
    client_ip: ClientIPConfig | None = field(default=None, name="clientIP")


class ServiceSpec(Model, frozen=True):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    selector: dict[str, str] = {}
    ports: tuple[ServicePort, ...] = ()
    cluster_ip: str = field(default="", name="clusterIP")
    cluster_ips: tuple[str, ...] = field(default=(), name="clusterIPs")
    external_ips: tuple[str, ...] = field(default=(), name="externalIPs")
    external_name: str = ""
    ip_families: tuple[Literal["IPv4", "IPv6"], ...] = ()
    ip_family_policy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] | None = None
    session_affinity: Literal["None", "ClientIP"] = "None"
    session_affinity_config: SessionAffinityConfig | None = None
    internal_traffic_policy: Literal["Cluster", "Local"] | None = None
    external_traffic_policy: Literal["Cluster", "Local"] | None = None
    traffic_distribution: Literal["PreferClose", "PreferSameZone", "PreferSameNode"] | None = None
    publish_not_ready_addresses: bool = False
    allocate_load_balancer_node_ports: bool | None = None
    health_check_node_port: int = 0
    load_balancer_ip: str = field(default="", name="loadBalancerIP")
    load_balancer_class: str | None = None
    load_balancer_source_ranges: tuple[str, ...] = ()


class SecretBody(Model, frozen=True):
    """A Secret has no spec: this is its body. `data` values are base64."""

    data: dict[str, str] = {}
    string_data: dict[str, str] = {}
    type: str = "Opaque"
    immutable: bool | None = None


class ConfigMapBody(Model, frozen=True):
    data: dict[str, str] = {}
    binary_data: dict[str, str] = {}
    immutable: bool | None = None


class ObjectReference(Model, frozen=True):
    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    resource_version: str = ""
    field_path: str = ""


class EventSource(Model, frozen=True):
    component: str = ""
    host: str = ""


class EventSeries(Model, frozen=True):
    count: int = 0
    last_observed_time: str | None = None


class EventBody(Model, frozen=True):
    involved_object: ObjectReference
    reason: str = ""
    message: str = ""
    source: EventSource | None = None
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    count: int = 0
    type: str = "Normal"
    event_time: str | None = None
    series: EventSeries | None = None
    action: str = ""
    related: ObjectReference | None = None
    reporting_component: str = ""
    reporting_instance: str = ""


_DATA_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")
_NO_NODES: Final = "the mesh opens no ports on nodes; expose the service with a Gateway"
_NO_BALANCER: Final = "there is no load balancer outside the mesh; expose the service with a Gateway"

REFUSED_SERVICE: Final[Refusals] = {
    "type=ExternalName": "aliases; use a ServiceEntry with resolution DNS",
    "externalIPs": "addresses outside the mesh",
    "ipFamilyPolicy=RequireDualStack": "the mesh's virtual addresses are IPv4",
    "ports[].protocol=SCTP": "the mesh carries TCP, and gateways UDP",
    "externalName": "aliases; use a ServiceEntry with resolution DNS",
    "ipFamilies[]=IPv6": "the mesh's virtual addresses are IPv4",
}

INEFFECTIVE_SERVICE: Final[Refusals] = {
    "ports[].protocol=UDP": "proxies of workloads carry no datagrams; a gateway leads there by a UDPRoute",
    "type=NodePort": _NO_NODES,
    "type=LoadBalancer": _NO_BALANCER,
    "sessionAffinityConfig.clientIP.timeoutSeconds": "affinity lasts as long as the endpoint does",
    "externalTrafficPolicy": _NO_NODES,
    "healthCheckNodePort": _NO_NODES,
    "ports[].nodePort": _NO_NODES,
    "allocateLoadBalancerNodePorts": _NO_BALANCER,
    "loadBalancerIP": _NO_BALANCER,
    "loadBalancerClass": _NO_BALANCER,
    "loadBalancerSourceRanges": _NO_BALANCER,
}
"""Inside the mesh a Service of any type is what it also is in Kubernetes, a ClusterIP."""


def validate_service(resource: Resource[ServiceSpec], faults: Faults) -> None:
    """Kubernetes' rules for a Service."""
    spec = resource.spec
    rules.labels(spec.selector, faults.at("selector"))
    if spec.cluster_ip not in ("", "None") and not rules.is_ip(spec.cluster_ip):
        faults.at("clusterIP").add(f"{spec.cluster_ip!r} is neither an IP address nor None")
    if spec.cluster_ip != "None" and spec.type != "ExternalName":
        faults.required(spec.ports, "ports")
    if spec.session_affinity_config is not None and spec.session_affinity == "None":
        faults.at("sessionAffinityConfig").add("has no effect without sessionAffinity: ClientIP")
    rules.named_once([port.name for port in spec.ports], faults.at("ports"), "port")
    rules.named_once([f"{port.port}/{port.protocol}" for port in spec.ports], faults.at("ports"), "port")
    for index, port in enumerate(spec.ports):
        where = faults.at("ports").item(index)
        if port.name:
            rules.dns_label(port.name, where.at("name"))
        elif len(spec.ports) > 1:
            where.at("name").add("is required, since there are several ports", Fault.REQUIRED)
        if isinstance(port.target_port, int):
            where.at("targetPort").require(
                1 <= port.target_port <= 65535, f"{port.target_port} is no port; expected 1 to 65535"
            )


def _keys(names: Iterable[str], faults: Faults) -> None:
    for name in names:
        if len(name) > 253 or not _DATA_KEY.fullmatch(name) or name in (".", ".."):
            faults.key(name).add(f"{name!r} is not a key: letters, digits, '-', '_' and '.'")


def _base64(values: Mapping[str, str], faults: Faults) -> None:
    for name, value in values.items():
        try:
            base64.b64decode(value, validate=True)
        except ValueError:
            faults.key(name).add("is not base64")


def validate_config_map(resource: Resource[ConfigMapBody], faults: Faults) -> None:
    """Kubernetes' rules for a ConfigMap."""
    body = resource.spec
    _keys(body.data, faults.at("data"))
    _keys(body.binary_data, faults.at("binaryData"))
    _base64(body.binary_data, faults.at("binaryData"))
    for name in body.data.keys() & body.binary_data.keys():
        faults.at("binaryData").key(name).add(f"{name!r} is in data, too")


def validate_secret(resource: Resource[SecretBody], faults: Faults) -> None:
    """Kubernetes' rules for a Secret; no message says a value."""
    _keys(resource.spec.data, faults.at("data"))
    _keys(resource.spec.string_data, faults.at("stringData"))
    _base64(resource.spec.data, faults.at("data"))
    if resource.spec.type == "kubernetes.io/tls":
        given = {**resource.spec.data, **resource.spec.string_data}
        for name in ("tls.crt", "tls.key"):
            if name not in given:
                faults.at("data").key(name).add("is required in a kubernetes.io/tls Secret", Fault.REQUIRED)
