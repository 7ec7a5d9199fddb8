"""EDS: the endpoints of one cluster, grouped by locality.

An endpoint that goes away is removed at once: Envoy lets the requests on its connections finish, and
sends no new ones there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from envoy.config.core.v3 import address_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2 as components
from envoy.config.endpoint.v3 import endpoint_pb2

from marline.compile.locality import ANYWHERE, LocalityPolicy, grouped, locality_policy
from marline.compile.policy import effective, in_subset, subset_names
from marline.compile.resource import ENDPOINT, Recipe
from marline.compile.routes_targets import datagram_cluster, outbound_cluster
from marline.compile.telemetry import METADATA
from marline.mesh.destinations import DestinationPolicy
from marline.mesh.model import Endpoint, Locality, Port, Protocol, Proxy, Role, Service, Workload
from marline.mesh.snapshot import MeshSnapshot

TRANSPORT_MATCH = "envoy.transport_socket_match"
MTLS_MODE = ("tlsMode", "istio")
"""The endpoint metadata that chooses mTLS, named as in Istio."""


def clustered_ports(service: Service, proxy: Proxy) -> tuple[Port, ...]:
    """The ports for which a proxy has clusters: only gateways forward datagrams."""
    if proxy.role is Role.GATEWAY:
        return service.ports
    return tuple(port for port in service.ports if port.protocol is not Protocol.UDP)


def port_subsets(rule: DestinationPolicy | None, port: Port) -> Iterable[str]:
    """The subsets for which a port has clusters; no UDPRoute can name any."""
    return ("",) if port.protocol is Protocol.UDP else subset_names(rule)


def port_cluster(host: str, port: Port, subset: str) -> str:
    if port.protocol is Protocol.UDP:
        return datagram_cluster(host, port.number)
    return outbound_cluster(host, port.number, subset)


def endpoint_recipes(
    snapshot: MeshSnapshot, proxy: Proxy, service: Service, client: Workload
) -> Iterator[Recipe]:
    """The endpoints of every port and subset of a service, as a client sees them."""
    rule = snapshot.destination_rule(service.hostname, client.namespace, dict(client.labels))
    every = callable_endpoints(snapshot, service)
    for port in clustered_ports(service, proxy):
        for subset in port_subsets(rule, port):
            name = port_cluster(service.hostname, port, subset)
            chosen = port_endpoints(every, port, rule, subset)
            prefers = locality_policy(effective(rule, port.number, subset), service, client)
            yield Recipe(ENDPOINT, name, build_assignment, (name, chosen, prefers), (service.source,))


def callable_endpoints(snapshot: MeshSnapshot, service: Service) -> tuple[Endpoint, ...]:
    """A service's endpoints, as to mTLS in the way in which they accept calls."""
    ports = {port.name: port for port in service.ports}
    found = snapshot.endpoints(service)
    if not snapshot.rules.peer_authentications:
        return found
    return tuple(
        replace(item, mtls=snapshot.calls_with_mtls(item, ports.get(item.service_port)))
        if item.mtls
        else item
        for item in found
    )


def port_endpoints(
    endpoints: Iterable[Endpoint], port: Port, rule: DestinationPolicy | None, subset: str
) -> tuple[Endpoint, ...]:
    return tuple(
        item for item in endpoints if item.service_port == port.name and in_subset(item, rule, subset)
    )


def build_assignment(
    name: str, endpoints: tuple[Endpoint, ...], prefers: LocalityPolicy = ANYWHERE
) -> endpoint_pb2.ClusterLoadAssignment:
    """An Envoy `ClusterLoadAssignment`; it is there, and empty, also when nobody is."""
    made = endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
    for group in grouped(endpoints, prefers):
        added = made.endpoints.add(priority=group.priority)
        if group.locality != Locality():
            added.locality.region, added.locality.zone = group.locality.region, group.locality.zone
            added.locality.sub_zone = group.locality.sub_zone
        added.load_balancing_weight.value = group.weight
        added.lb_endpoints.extend(_endpoint(item) for item in group.endpoints)
    return made


def _endpoint(endpoint: Endpoint) -> Any:
    made = components.LbEndpoint()
    made.endpoint.address.CopyFrom(socket_address(endpoint.address, endpoint.port))
    made.load_balancing_weight.value = endpoint.weight or 1
    if endpoint.mtls:
        made.metadata.filter_metadata[TRANSPORT_MATCH].update(dict([MTLS_MODE]))
    if endpoint.workload:
        described = {"workload": endpoint.workload, "namespace": endpoint.namespace}
        made.metadata.filter_metadata[METADATA].update(described)
    return made


def socket_address(address: str, port: int) -> Any:
    """An Envoy `Address` of an IP address, a host name or `unix://` path."""
    made = address_pb2.Address()
    if address.startswith("unix://"):
        made.pipe.path = address.removeprefix("unix://")
    else:
        made.socket_address.address, made.socket_address.port_value = address, port
    return made
