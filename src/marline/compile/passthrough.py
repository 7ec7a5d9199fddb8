"""What is unknown to the mesh: clusters that pass it on or end it, and route tables that lead there."""

from typing import Any, Final

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.route.v3 import route_components_pb2 as route_pb
from envoy.config.route.v3 import route_pb2

from marline.api.networking.destination_rule import ConnectionPoolSettings
from marline.compile.cluster_limits import set_limits
from marline.compile.cluster_protocol import set_protocol
from marline.compile.forward_proxy import set_forward_proxy
from marline.compile.resource import CLUSTER, ROUTE, VIRTUAL_HOST, Recipe
from marline.compile.routes_hosts import MAX_DIRECT_RESPONSE, discover_hosts
from marline.compile.routes_l4 import WeightedTarget
from marline.compile.routes_targets import duration, outbound_cluster
from marline.compile.telemetry import METADATA
from marline.mesh.hosts import possible_hosts
from marline.mesh.model import Capture, Protocol
from marline.mesh.visibility import Scope

PASSTHROUGH: Final = "PassthroughCluster"
BLACK_HOLE: Final = "BlackHoleCluster"
PLACEHOLDER: Final = "placeholder.invalid"
"""A host that nobody calls (RFC 2606): a table whose virtual hosts are discovered needs at least one, or
its listener would wait for the first for ever."""
_BAD_GATEWAY: Final = 502


def passthrough_recipes(capture: Capture, connect_seconds: float) -> tuple[Recipe, ...]:
    """The two clusters for what is unknown."""
    return (
        Recipe(CLUSTER, PASSTHROUGH, build_passthrough_cluster, (PASSTHROUGH, capture, connect_seconds)),
        Recipe(CLUSTER, BLACK_HOLE, build_black_hole, ()),
    )


def build_passthrough_cluster(
    name: str, capture: Capture, connect_seconds: float, pool: ConnectionPoolSettings | None = None
) -> cluster_pb2.Cluster:
    """To the address that the application connected to, or under explicit capture to the host that its
    request names."""
    made = cluster_pb2.Cluster(name=name)
    made.connect_timeout.CopyFrom(duration(connect_seconds))
    made.metadata.filter_metadata[METADATA].update({"service": name})
    if capture is Capture.EXPLICIT:
        set_forward_proxy(made)
    else:
        made.type = cluster_pb2.Cluster.DiscoveryType.ORIGINAL_DST
        made.lb_policy = cluster_pb2.Cluster.LbPolicy.CLUSTER_PROVIDED
    set_limits(made, pool)
    set_protocol(made, Protocol.AUTO, pool, by_request=capture is Capture.EXPLICIT)
    return made


def build_black_hole() -> cluster_pb2.Cluster:
    """A cluster without any endpoint: connections are closed, requests fail."""
    return cluster_pb2.Cluster(name=BLACK_HOLE, type=cluster_pb2.Cluster.DiscoveryType.STATIC)


def unknown_cluster(scope: Scope, cluster_domain: str) -> str:
    """Where traffic of a workload goes that is for nothing that the mesh knows; "": nowhere.

    An egress proxy that is no service of the mesh (any more) lets nothing through, as in Istio.
    """
    if not scope.allow_any:
        return ""
    proxy = scope.egress_proxy
    if proxy is None or proxy.port is None:
        return PASSTHROUGH
    host = possible_hosts(proxy.host, scope.namespace, cluster_domain)[0]
    return outbound_cluster(host, proxy.port.number, proxy.subset)


def table_recipes(name: str, unknown: str) -> tuple[Recipe, ...]:
    """A route table whose virtual hosts are resources of their own (VHDS), and the first of those.
    `unknown`: the cluster for any other host; "": it is refused."""
    return (Recipe(ROUTE, name, build_table, (name, unknown)), placeholder_recipe(name))


def placeholder_recipe(table: str) -> Recipe:
    """The virtual host that a table has at any rate."""
    name = f"{table}/{PLACEHOLDER}"
    return Recipe(VIRTUAL_HOST, name, build_placeholder, (name,))


def build_table(name: str, unknown: str) -> route_pb2.RouteConfiguration:
    """An Envoy `RouteConfiguration`; requests for unknown hosts are passed on or refused."""
    made = route_pb2.RouteConfiguration(name=name)
    made.validate_clusters.value = False
    made.max_direct_response_body_size_bytes.value = MAX_DIRECT_RESPONSE
    discover_hosts(made)
    host = made.virtual_hosts.add(name="allow_any" if unknown else "block_all", domains=["*"])
    if unknown:
        host.routes.append(connect_route(unknown))
    route = host.routes.add()
    route.match.prefix = "/"
    if unknown:
        route.route.cluster = unknown
        route.route.timeout.CopyFrom(duration(0))
    else:
        route.direct_response.status = _BAD_GATEWAY
    return made


def build_placeholder(name: str) -> route_pb.VirtualHost:
    return route_pb.VirtualHost(name=name, domains=[PLACEHOLDER])


def build_tunnel_host(
    name: str, domains: tuple[str, ...], clusters: tuple[WeightedTarget, ...]
) -> route_pb.VirtualHost:
    """A virtual host of the HTTP proxy for a port that carries no HTTP: only CONNECT reaches it."""
    made = route_pb.VirtualHost(name=name, domains=domains)
    route = connect_route(clusters[0].cluster if clusters else BLACK_HOLE)
    if len(clusters) > 1:
        for item in clusters:
            route.route.weighted_clusters.clusters.add(name=item.cluster).weight.value = item.weight
    made.routes.append(route)
    return made


def connect_route(cluster: str) -> Any:
    """CONNECT requests: their bytes go to a cluster."""
    made = route_pb.Route()
    made.match.connect_matcher.SetInParent()
    made.route.cluster = cluster
    made.route.timeout.CopyFrom(duration(0))
    made.route.upgrade_configs.add(upgrade_type="CONNECT").connect_config.SetInParent()
    return made
