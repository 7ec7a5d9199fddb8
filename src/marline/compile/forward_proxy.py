"""Destinations that a request names itself: Envoy's dynamic forward proxy, with one DNS cache."""

from typing import Any, Final

from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.clusters.dynamic_forward_proxy.v3 import cluster_pb2 as forward_pb2
from envoy.extensions.common.dynamic_forward_proxy.v3 import dns_cache_pb2
from envoy.extensions.filters.http.dynamic_forward_proxy.v3 import dynamic_forward_proxy_pb2
from envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3 import (
    sni_dynamic_forward_proxy_pb2 as sni_pb2,
)

FILTER: Final = "envoy.filters.http.dynamic_forward_proxy"
SNI_FILTER: Final = "envoy.filters.network.sni_dynamic_forward_proxy"
_MAX_HOSTS: Final = 1024


def _dns_cache() -> Any:
    """Equal wherever it is used: Envoy refuses two caches of one name that differ."""
    made = dns_cache_pb2.DnsCacheConfig(name="marline")
    made.dns_lookup_family = cluster_pb2.Cluster.DnsLookupFamily.V4_PREFERRED
    made.max_hosts.value = _MAX_HOSTS
    return made


def set_forward_proxy(cluster: Any, *, insecure: bool = False) -> None:
    """Make a cluster one that connects to the host of each request. Envoy wants to be told if TLS must not
    verify that host."""
    cluster.lb_policy = cluster_pb2.Cluster.LbPolicy.CLUSTER_PROVIDED
    cluster.cluster_type.name = "envoy.clusters.dynamic_forward_proxy"
    config = forward_pb2.ClusterConfig()
    config.dns_cache_config.CopyFrom(_dns_cache())
    config.allow_insecure_cluster_options = insecure
    cluster.cluster_type.typed_config.Pack(config)


def resolve_sni(port: int) -> Any:
    """The network filter that resolves the server name of a TLS connection before it goes to such a
    cluster, at a port."""
    made = sni_pb2.FilterConfig(port_value=port)
    made.dns_cache_config.CopyFrom(_dns_cache())
    return made


def resolve_host() -> Any:
    """The configuration of a route that turns that filter on."""
    return dynamic_forward_proxy_pb2.PerRouteConfig()


def forward_proxy_filter() -> Any:
    """The HTTP filter that resolves the host before a request is sent to such a cluster."""
    made = dynamic_forward_proxy_pb2.FilterConfig()
    made.dns_cache_config.CopyFrom(_dns_cache())
    return made
