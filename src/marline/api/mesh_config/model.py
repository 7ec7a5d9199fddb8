"""MeshConfig's fields (istio.io, "Global Mesh Options").

What is refused as a whole has no model of its own: it is `Any`, and the table in `rules` says why.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from marline.api.mesh_config.providers import ExtensionProvider
from marline.api.model import Model
from marline.api.networking.virtual_service import HTTPRetry
from marline.api.scalars import Duration

Normalization = Literal["DEFAULT", "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"]
CompliancePolicy = Literal["", "fips-140-2", "pqc"]
Port = Annotated[int, Meta(ge=0, le=65535)]


class OutboundTrafficPolicy(Model, frozen=True):
    mode: Literal["REGISTRY_ONLY", "ALLOW_ANY"] = "REGISTRY_ONLY"


class InboundTrafficPolicy(Model, frozen=True):
    mode: Literal["PASSTHROUGH", "LOCALHOST"] = "PASSTHROUGH"


class ProxyPathNormalization(Model, frozen=True):
    normalization: Normalization = "DEFAULT"


class MeshTLS(Model, frozen=True):
    """TLS between proxies (Istio's `TLSConfig`, as `meshMTLS`)."""

    cipher_suites: tuple[str, ...] = ()
    ecdh_curves: tuple[str, ...] = ()
    min_protocol_version: Literal["TLS_AUTO", "TLSV1_2", "TLSV1_3"] = "TLS_AUTO"


class DefaultProviders(Model, frozen=True):
    tracing: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    access_logging: tuple[str, ...] = ()


class GatewayTopology(Model, frozen=True):
    """What stands before gateways."""

    num_trusted_proxies: Annotated[int, Meta(ge=0, le=100)] = 0
    """So many proxies add the address of who calls them to `X-Forwarded-For`, and are believed."""
    forward_client_cert_details: str = ""
    proxy_protocol: dict[str, Any] | None = None
    """Connections begin with a header of the PROXY protocol, and are closed if they do not."""


class MeshConfig(Model, frozen=True):
    access_log_encoding: Literal["TEXT", "JSON"] = "TEXT"
    access_log_file: str = ""
    access_log_format: str = ""
    ca: Any = None
    ca_certificates: Any = None
    certificates: Any = None
    compliance_policy: CompliancePolicy = ""
    """Key exchanges and ciphers between proxies, by the names of Istio's `COMPLIANCE_POLICY`."""
    config_sources: Any = None
    connect_timeout: Duration | None = None
    default_config: dict[str, Any] = {}
    """Istio's `ProxyConfig`, of which the part that matters here is a resource of its own."""
    default_destination_rule_export_to: tuple[str, ...] = ()
    default_http_retry_policy: HTTPRetry | None = None
    default_providers: DefaultProviders | None = None
    default_service_export_to: tuple[str, ...] = ()
    default_virtual_service_export_to: tuple[str, ...] = ()
    disable_envoy_listener_log: bool = False
    discovery_selectors: Any = None
    dns_refresh_rate: Duration | None = None
    enable_auto_mtls: bool | None = None
    enable_envoy_access_log_service: bool = False
    enable_prometheus_merge: bool | None = None
    enable_tracing: bool = False
    extension_providers: tuple[ExtensionProvider, ...] = ()
    h2_upgrade_policy: Literal["DO_NOT_UPGRADE", "UPGRADE"] = "DO_NOT_UPGRADE"
    inbound_cluster_stat_name: str = ""
    inbound_traffic_policy: InboundTrafficPolicy | None = None
    ingress_class: str = ""
    ingress_controller_mode: Literal["UNSPECIFIED", "OFF", "DEFAULT", "STRICT"] = "UNSPECIFIED"
    ingress_selector: str = ""
    ingress_service: str = ""
    locality_lb_setting: Any = None
    mesh_mtls: MeshTLS | None = field(default=None, name="meshMTLS")
    outbound_cluster_stat_name: str = ""
    outbound_traffic_policy: OutboundTrafficPolicy | None = None
    path_normalization: ProxyPathNormalization | None = None
    protocol_detection_timeout: Duration | None = None
    proxy_http_port: Port = 0
    proxy_inbound_listen_port: Port = 0
    proxy_listen_port: Port = 0
    root_namespace: str = ""
    service_settings: Any = None
    tcp_keepalive: Any = None
    tls_defaults: Any = None
    trust_domain: str = ""
    trust_domain_aliases: tuple[str, ...] = ()
    verify_certificate_at_client: bool | None = None
