"""AUTO_PASSTHROUGH: connections of the mesh, forwarded as they are to the service that their SNI names.

Behaviour: istio.io, "Gateway" reference (`ServerTLSSettings.TLSmode`). A proxy's SNI is
`outbound_.<port>_.<subset>_.<host>` under the mesh's own suffix; the gateway has a cluster of exactly that
name for each service that a server of it names, with those endpoints that take mTLS. So nobody reaches
anything there without an identity of the mesh: the endpoint itself demands it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from envoy.config.cluster.v3 import cluster_pb2

from marline.compile.cluster_spec import ClusterSpec, Discovery
from marline.compile.clusters import build_cluster, cluster_sources, cluster_specs
from marline.compile.endpoints import build_assignment, callable_endpoints, port_endpoints
from marline.compile.gateway_hosts import ANY, namespace_allows, split_server_host
from marline.compile.gateway_lookup import istio_gateways
from marline.compile.resource import CLUSTER, ENDPOINT, Recipe
from marline.compile.tls import SNI_SUFFIX, mesh_sni
from marline.mesh.hosts import host_matches
from marline.mesh.model import Protocol, Proxy, Role, Service, Workload
from marline.mesh.snapshot import MeshSnapshot

AUTO_PASSTHROUGH: Final = "AUTO_PASSTHROUGH"


@dataclass(frozen=True, slots=True)
class PassedHost:
    """One host of an AUTO_PASSTHROUGH server."""

    host: str
    namespace: str
    """Of the services meant; `*` for any, `.` for the Gateway's own."""
    gateway_namespace: str

    def covers(self, service: Service) -> bool:
        return host_matches(self.host, service.hostname) and namespace_allows(
            self.namespace, self.gateway_namespace, service.namespace
        )


def passed_hosts(snapshot: MeshSnapshot, proxy: Proxy) -> tuple[PassedHost, ...]:
    """Which services a gateway's proxy forwards connections to by their SNI."""
    if proxy.role is not Role.GATEWAY:
        return ()
    key = (passed_hosts, proxy)
    found: tuple[PassedHost, ...] | None = snapshot.memo.get(key)
    if found is None:
        found = snapshot.memo[key] = tuple(_passed_hosts(snapshot, proxy))
    return found


def _passed_hosts(snapshot: MeshSnapshot, proxy: Proxy) -> Iterator[PassedHost]:
    for gateway in istio_gateways(snapshot, proxy):
        for server in gateway.spec.servers:
            if server.tls is not None and server.tls.mode == AUTO_PASSTHROUGH:
                for host in server.hosts:
                    namespace, name = split_server_host(host)
                    yield PassedHost(name.lower(), namespace, gateway.namespace)


def mesh_names(host: str) -> str:
    """The SNIs of all calls to a host (or to all that a wildcard stands for), as one name."""
    return f"*.{SNI_SUFFIX}" if host == ANY else f"*.{host.removeprefix('*.')}.{SNI_SUFFIX}"


def passed_cluster_recipes(
    snapshot: MeshSnapshot, proxy: Proxy, service: Service, client: Workload
) -> Iterator[Recipe]:
    """The clusters of a service that are named as calls of it are; none if no server forwards to it."""
    for spec in _passed_specs(snapshot, proxy, service, client):
        yield Recipe(CLUSTER, spec.name, build_passed_cluster, (spec,), cluster_sources(spec, service))


def passed_endpoint_recipes(
    snapshot: MeshSnapshot, proxy: Proxy, service: Service, client: Workload
) -> Iterator[Recipe]:
    """The endpoints of these clusters: those that take nothing but mTLS at this address."""
    every = callable_endpoints(snapshot, service)
    for spec in _passed_specs(snapshot, proxy, service, client):
        chosen = port_endpoints(every, spec.port, spec.rule, spec.subset)
        taking = tuple(item for item in chosen if item.mtls)
        inputs = (spec.name, taking, spec.prefers)
        yield Recipe(ENDPOINT, spec.name, build_assignment, inputs, (service.source,))


def _passed_specs(
    snapshot: MeshSnapshot, proxy: Proxy, service: Service, client: Workload
) -> Iterator[ClusterSpec]:
    if not any(host.covers(service) for host in passed_hosts(snapshot, proxy)):
        return
    for spec in cluster_specs(snapshot, proxy, service, client):
        carries_tls = spec.port.protocol is not Protocol.UDP
        if carries_tls and spec.discovery is Discovery.EDS and not spec.external:
            name = mesh_sni(service.hostname, spec.port.number, spec.subset).lower()
            yield replace(spec, name=name)


def build_passed_cluster(spec: ClusterSpec) -> cluster_pb2.Cluster:
    """An Envoy `Cluster` for bytes that are encrypted already."""
    made = build_cluster(spec)
    for field in ("transport_socket", "transport_socket_matches", "typed_extension_protocol_options"):
        made.ClearField(field)
    return made
