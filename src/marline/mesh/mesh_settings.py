"""What a mesh's MeshConfig makes of the settings that its control plane was started with."""

from dataclasses import replace

from marline.api.core import ConfigMapBody
from marline.api.mesh_config.rules import gateway_topology, mesh_config
from marline.api.resource import Resource
from marline.mesh.mesh_tls import mesh_tls
from marline.mesh.model import MeshSettings

_UNSAID = MeshSettings()


def configured(settings: MeshSettings, resource: Resource[ConfigMapBody] | None) -> MeshSettings:
    """The settings as the ConfigMap of the MeshConfig has them. What it does not say (any more) is as it is
    without one; what a control plane is started with stays."""
    config = mesh_config(resource)
    outbound, paths = config.outbound_traffic_policy, config.path_normalization
    topology = gateway_topology(config)
    return replace(
        settings,
        allow_any_outbound=outbound is None or outbound.mode == "ALLOW_ANY",
        trust_domain_aliases=config.trust_domain_aliases,
        path_normalization=paths.normalization if paths is not None else _UNSAID.path_normalization,
        trusted_proxies=topology.num_trusted_proxies,
        proxy_protocol=topology.proxy_protocol is not None,
        connect_seconds=float(config.connect_timeout or _UNSAID.connect_seconds),
        dns_refresh_seconds=float(config.dns_refresh_rate or _UNSAID.dns_refresh_seconds),
        default_retries=config.default_http_retry_policy,
        extension_providers=config.extension_providers,
        mesh_tls=mesh_tls(config),
    )
