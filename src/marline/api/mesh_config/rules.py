"""Where MeshConfig is written, what of it Marline acts on, and what it must fulfil."""

from collections.abc import Mapping
from typing import Any, Final

from marline.api import rules
from marline.api.core import ConfigMapBody
from marline.api.faults import Faults
from marline.api.mesh_config.model import GatewayTopology, MeshConfig
from marline.api.mesh_config.providers import REFUSED_PROVIDERS, validate_providers
from marline.api.networking.virtual_service_actions import check_retries
from marline.api.refusals import Refusals, ineffective, refuse
from marline.api.resource import Ref, Resource
from marline.api.shape import convert
from marline.api.yaml_values import read_value

MESH_CONFIG: Final = Ref("", "ConfigMap", "istio-system", "istio")
"""The ConfigMap that `istioctl install` writes: in the root namespace, without a revision."""
KEY: Final = "mesh"
_NETWORKS: Final = "meshNetworks"

_LOGS: Final = "proxies write no access logs; leave it empty"
_INGRESS: Final = "there is no controller of Ingress resources; use a Gateway"
_STARTED: Final = "how proxies are started is said by a ProxyConfig in the root namespace"
_CERTIFICATES: Final = "the mesh's authority is said when it is started, by `marline up`"
REFUSED: Final[Refusals] = {
    "accessLogEncoding=JSON": _LOGS,
    "accessLogFile": _LOGS,
    "accessLogFormat": _LOGS,
    "ca": _CERTIFICATES,
    "caCertificates": _CERTIFICATES,
    "certificates": _CERTIFICATES,
    "configSources": "resources come from Marline's own API",
    **{
        f"defaultConfig.{name}": _STARTED
        for name in ("concurrency", "image", "proxyMetadata", "runtimeValues", "extraStatTags")
    },
    "defaultConfig.tracing": "proxies send no traces",
    "defaultConfig.gatewayTopology.forwardClientCertDetails": (
        "a gateway replaces what its clients say of certificates"
    ),
    "defaultDestinationRuleExportTo[]!=*": "say it in the rules themselves (exportTo)",
    "defaultProviders.accessLogging": _LOGS,
    "defaultProviders.metrics[]!=prometheus": "metrics are those of every proxy, for Prometheus to read",
    "defaultProviders.tracing": "proxies send no traces",
    "defaultServiceExportTo[]!=*": "say it at the services themselves (exportTo)",
    "defaultVirtualServiceExportTo[]!=*": "say it in the rules themselves (exportTo)",
    "discoverySelectors": "the mesh is of all namespaces",
    "enableAutoMtls!=true": "the proxies of the mesh always use mTLS with each other where both can",
    "enableEnvoyAccessLogService": _LOGS,
    "enableTracing": "proxies send no traces",
    **{f"extensionProviders[].{name}": reason for name, reason in REFUSED_PROVIDERS.items()},
    "h2UpgradePolicy=UPGRADE": "say it in a DestinationRule (connectionPool.http.h2UpgradePolicy)",
    "inboundClusterStatName": "statistics have the names that Envoy gives them",
    "inboundTrafficPolicy.mode=LOCALHOST": "where an application listens is said where it is run",
    "ingressClass": _INGRESS,
    "ingressControllerMode=DEFAULT": _INGRESS,
    "ingressControllerMode=STRICT": _INGRESS,
    "ingressSelector!=ingressgateway": _INGRESS,
    "ingressService!=istio-ingressgateway": _INGRESS,
    "localityLbSetting.distribute": "say it in a DestinationRule (loadBalancer.localityLbSetting)",
    "localityLbSetting.failover": "say it in a DestinationRule (loadBalancer.localityLbSetting)",
    "localityLbSetting.failoverPriority": "say it in a DestinationRule (loadBalancer.localityLbSetting)",
    "localityLbSetting.enabled!=true": "say it in a DestinationRule (loadBalancer.localityLbSetting)",
    "meshMTLS.cipherSuites": "proxies choose them by the compliancePolicy",
    "meshMTLS.ecdhCurves": "proxies choose them by the compliancePolicy",
    "outboundClusterStatName": "statistics have the names that Envoy gives them",
    "protocolDetectionTimeout": "proxies wait 5s for a client's first bytes; declare the port's protocol",
    "proxyHttpPort": "an application asks for such a port where it is run",
    "proxyInboundListenPort!=15006": "proxies receive what is captured at 15006",
    "proxyListenPort!=15001": "proxies receive what is captured at 15001",
    "rootNamespace!=istio-system": "policies of the whole mesh are those of istio-system",
    "serviceSettings": "there is one cluster",
    "tcpKeepalive": "say it in a DestinationRule (connectionPool.tcp.tcpKeepalive)",
    "tlsDefaults": "say it where TLS is used, in a Gateway or a DestinationRule",
    "trustDomain!=cluster.local": (
        "an authority is made for its trust domain; say it with `marline up --trust-domain` alone"
    ),
    "verifyCertificateAtClient!=true": "certificates are verified; say otherwise in a DestinationRule",
}
INEFFECTIVE: Final[Refusals] = {
    "defaultConfig.discoveryAddress": "proxies find their control plane without being told",
    "disableEnvoyListenerLog": "listeners write no logs, whatever is said of that",
    "enablePrometheusMerge=true": "a proxy has metrics of its own; ask the application for the application's",
}
_PROXY_FIELDS: Final = frozenset(
    {
        "concurrency", "discoveryAddress", "extraStatTags", "gatewayTopology", "image", "proxyMetadata",
        "runtimeValues", "tracing",
    }
)  # fmt: skip
"""Those of Istio's ProxyConfig that `REFUSED` and `INEFFECTIVE` speak of; any other is refused, too."""


def validate_mesh_config(resource: Resource[ConfigMapBody], faults: Faults) -> None:
    """Rules for the ConfigMap that says what holds for the whole mesh; others are as they like."""
    if resource.ref != MESH_CONFIG:
        return
    data = faults.at("data")
    if resource.spec.data.get(_NETWORKS, "").strip():
        where = data.key(_NETWORKS)
        networks, _ = read_value(resource.spec.data[_NETWORKS], where)
        if networks not in (None, {}, {"networks": {}}, {"networks": None}):
            where.unsupported("is not acted on: a mesh has one network")
    where = data.key(KEY)
    written, _ = read_value(resource.spec.data.get(KEY, ""), where)
    if written is None:
        return
    config = convert(written, MeshConfig, where)
    if config is not None:
        _validate(config, where)
        refuse(written, REFUSED, where)


def mesh_config_remarks(obj: Mapping[str, Any]) -> tuple[str, ...]:
    """What of a ConfigMap that was admitted has no effect."""
    metadata = obj.get("metadata", {})
    if (obj.get("kind"), metadata.get("namespace"), metadata.get("name")) != MESH_CONFIG[1:]:
        return ()
    written, _ = read_value((obj.get("data") or {}).get(KEY, ""), Faults())
    return ineffective(written, INEFFECTIVE, f"data[{KEY}]")


def mesh_config(resource: Resource[ConfigMapBody] | None) -> MeshConfig:
    """What a ConfigMap that was admitted says; without one all is as if nothing was said."""
    text = resource.spec.data.get(KEY, "") if resource is not None else ""
    written, _ = read_value(text, Faults())
    return (convert(written, MeshConfig, Faults()) if written else None) or MeshConfig()


def gateway_topology(config: MeshConfig, faults: Faults | None = None) -> GatewayTopology:
    """What a MeshConfig says of what stands before gateways."""
    written = config.default_config.get("gatewayTopology")
    where = faults if faults is not None else Faults()
    return (convert(written, GatewayTopology, where) if written else None) or GatewayTopology()


def _validate(config: MeshConfig, faults: Faults) -> None:
    rules.duration(config.connect_timeout, faults.at("connectTimeout"))
    rules.duration(config.dns_refresh_rate, faults.at("dnsRefreshRate"))
    if config.default_http_retry_policy is not None:
        where = faults.at("defaultHttpRetryPolicy")
        check_retries(config.default_http_retry_policy, where)
        if config.default_http_retry_policy.per_try_timeout is not None:
            where.at("perTryTimeout").unsupported(
                "is not acted on: a time for each attempt is for a route to say, as in Istio"
            )
    for index, alias in enumerate(config.trust_domain_aliases):
        rules.dns_subdomain(alias, faults.at("trustDomainAliases").item(index))
    for name in config.default_config:
        if name not in _PROXY_FIELDS:
            faults.at("defaultConfig").at(name).unsupported(f"is not acted on: {_STARTED}")
    gateway_topology(config, faults.at("defaultConfig").at("gatewayTopology"))
    validate_providers(config.extension_providers, faults.at("extensionProviders"))
