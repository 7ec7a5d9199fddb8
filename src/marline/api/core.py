"""core/v1: Namespace, Service, Secret, ConfigMap, Event (kubernetes.io API reference)."""

from typing import Annotated, Literal

from msgspec import Meta, field

from marline.api.model import Model

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
    traffic_distribution: str | None = None
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
