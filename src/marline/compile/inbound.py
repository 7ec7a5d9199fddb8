"""What a workload receives: listeners that demand what its policy says, clusters for its application."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import listener_pb2

from marline.api.networking.destination_rule import ConnectionPoolSettings
from marline.api.resource import Ref
from marline.compile.authorization import Authorization, authorization
from marline.compile.cluster_limits import set_limits
from marline.compile.cluster_protocol import set_protocol
from marline.compile.endpoints import socket_address
from marline.compile.filters import (
    DETECTION_SECONDS,
    listener_filter,
    only_for_ports,
    tcp_filter,
    to_cluster,
)
from marline.compile.inbound_chains import InboundPorts, Peers, ServedPort, opaque_chains, served_chains
from marline.compile.inbound_policies import port_policies
from marline.compile.ingress import inbound_ports, secret_recipes
from marline.compile.outbound_listener import ANY_ADDRESS, listen_address
from marline.compile.passthrough import BLACK_HOLE, build_passthrough_cluster
from marline.compile.request_authentication import authentication
from marline.compile.resource import CLUSTER, LISTENER, Recipe
from marline.compile.routes_targets import duration
from marline.compile.telemetry import METADATA, destination_reporter, handshake_log
from marline.mesh.authentication import MtlsMode, PeerPolicy
from marline.mesh.model import Capture, InboundPort, Proxy, Service, Workload
from marline.mesh.snapshot import MeshSnapshot

INBOUND_PASSTHROUGH: Final = "InboundPassthroughCluster"
_LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class _Names:
    """A proxy of several workloads has the same resources for each, told apart by the workload."""

    workload: str

    def cluster(self, port: int) -> str:
        return f"inbound|{port}|{self.workload}|"

    def listener(self, name: str) -> str:
        return f"{name}|{self.workload}" if self.workload else name


def inbound_recipes(snapshot: MeshSnapshot, proxy: Proxy, workload: Workload) -> tuple[Recipe, ...]:
    """All listeners and clusters for what one workload of a proxy receives."""
    names = _Names(workload.name if len(proxy.workloads) > 1 else "")
    labels = dict(workload.labels)
    policy = snapshot.peer_policy(workload.namespace, labels)
    services = snapshot.services_selecting(workload.namespace, labels)
    sidecar = snapshot.sidecar(workload.namespace, labels)
    accepted = authentication(snapshot, proxy, workload)
    allowed = authorization(snapshot, proxy, workload)
    served = {
        item.number: ServedPort(
            item.port,
            _mode(policy, item.port, services),
            names.cluster(item.number),
            port_policies(snapshot, services, item.port.name),
            item.pool,
            item.tls,
            item.bind,
            accepted.rules if item.port.protocol.may_be_http else (),
            allowed,
            (item.number,) if allowed.policies else (),
            snapshot.settings.path_normalization,
        )
        for item in reversed(tuple(inbound_ports(snapshot, proxy, workload, sidecar)))
    }
    ports = tuple(served[number] for number in sorted(served))
    sources = (
        *policy.sources,
        *((sidecar.ref,) if sidecar is not None else ()),
        *accepted.sources,
        *allowed.sources,
    )
    peers = _peers(workload, snapshot)
    common = (
        *(_cluster_recipe(item, services, snapshot.settings.connect_seconds) for item in ports),
        *dict.fromkeys(
            secret for item in ports if item.tls is not None for secret in secret_recipes(item.tls, sources)
        ),
    )
    if proxy.capture is Capture.TRANSPARENT:
        passthrough = names.listener(INBOUND_PASSTHROUGH)
        inputs = (passthrough, Capture.TRANSPARENT, snapshot.settings.connect_seconds)
        unknown = Recipe(CLUSTER, passthrough, build_passthrough_cluster, inputs)
        return (
            *common,
            unknown,
            *_captured(proxy, workload, names, ports, policy, allowed, peers, sources),
        )
    return (*common, *_explicit(proxy, names, ports, peers, sources))


def _peers(workload: Workload, snapshot: MeshSnapshot) -> Peers:
    domain = snapshot.settings.trust_domain
    return Peers(
        destination_reporter(workload, domain, mtls=True),
        destination_reporter(workload, domain, mtls=False),
        snapshot.mesh_peers,
    )


def _mode(policy: PeerPolicy, port: InboundPort, services: list[Service]) -> MtlsMode:
    """A policy may name a port by the workload's number or by the service's."""
    numbers = {item.number for service in services for item in service.ports if item.name == port.name}
    return policy.for_port(port.app_port, port.listen, *sorted(numbers))


def _cluster_recipe(served: ServedPort, services: list[Service], connect_seconds: float) -> Recipe:
    if not served.port.app_address:
        captured = (served.cluster, Capture.TRANSPARENT, connect_seconds, served.pool)
        return Recipe(CLUSTER, served.cluster, build_passthrough_cluster, captured)
    named = (
        service.hostname
        for service in services
        if any(item.name == served.port.name for item in service.ports)
    )
    hostname = next(named, services[0].hostname if services else "unknown")
    inputs = (served.cluster, served.port, hostname, connect_seconds, served.pool)
    return Recipe(CLUSTER, served.cluster, build_inbound_cluster, inputs)


def build_inbound_cluster(
    name: str, port: InboundPort, hostname: str, connect_seconds: float, pool: ConnectionPoolSettings | None
) -> cluster_pb2.Cluster:
    """The application itself."""
    made = cluster_pb2.Cluster(name=name, type=cluster_pb2.Cluster.DiscoveryType.STATIC)
    made.connect_timeout.CopyFrom(duration(connect_seconds))
    made.metadata.filter_metadata[METADATA].update({"service": hostname})
    address = port.app_address if "/" not in port.app_address else f"unix://{port.app_address}"
    made.load_assignment.cluster_name = name
    endpoint = made.load_assignment.endpoints.add().lb_endpoints.add().endpoint
    endpoint.address.CopyFrom(socket_address(address, port.app_port))
    set_limits(made, pool)
    set_protocol(made, port.protocol, pool)
    return made


def _captured(
    proxy: Proxy,
    workload: Workload,
    names: _Names,
    ports: tuple[ServedPort, ...],
    policy: PeerPolicy,
    allowed: Authorization,
    peers: Peers,
    sources: tuple[Ref, ...],
) -> Iterator[Recipe]:
    known = {item.port.listen for item in ports}
    spec = InboundPorts(
        ports,
        tuple((number, mode) for number, mode in policy.ports if number not in known),
        policy.mode,
        names.listener(INBOUND_PASSTHROUGH),
        allowed,
    )
    name = names.listener("virtualInbound")
    inputs = (name, proxy.inbound_capture_port, workload.netns, spec, peers)
    of_ports = (ref for item in ports for ref in item.policies.sources)
    yield Recipe(LISTENER, name, build_virtual_inbound, inputs, tuple(dict.fromkeys((*sources, *of_ports))))
    for item in ports:
        if item.bind:
            yield _bound(names, item.bind, item, workload.netns, peers, sources)


def build_virtual_inbound(
    name: str, capture_port: int, netns: str, spec: InboundPorts, peers: Peers
) -> listener_pb2.Listener:
    """Receives what others send to any port of the workload. A connection that fits no chain, such as
    plain text where mTLS is demanded, is closed."""
    made = _listener(name, ANY_ADDRESS, capture_port, netns)
    made.listener_filters.append(listener_filter("original_dst"))
    made.listener_filters.append(listener_filter("tls_inspector"))
    detecting = tuple(item.port.listen for item in spec.served if item.detects_plain_http)
    if detecting:
        made.listener_filters.append(only_for_ports(listener_filter("http_inspector"), detecting))
    _limit_detection(made)
    loop = made.filter_chains.add(name="loop")
    loop.filter_chain_match.destination_port.value = capture_port
    loop.filters.append(tcp_filter(to_cluster(BLACK_HOLE), BLACK_HOLE, peers.plain))
    for item in spec.served:
        made.filter_chains.extend(served_chains(item, item.port.listen, peers))
    for number, mode in spec.others:
        made.filter_chains.extend(opaque_chains(mode, spec.passthrough, number, peers, spec.authorization))
    made.filter_chains.extend(opaque_chains(spec.mode, spec.passthrough, 0, peers, spec.authorization))
    return made


def _explicit(
    proxy: Proxy,
    names: _Names,
    ports: tuple[ServedPort, ...],
    peers: Peers,
    sources: tuple[Ref, ...],
) -> Iterator[Recipe]:
    for item in ports:
        yield _bound(names, item.bind or proxy.bind_address or _LOOPBACK, item, "", peers, sources)


def _bound(
    names: _Names, address: str, item: ServedPort, netns: str, peers: Peers, sources: tuple[Ref, ...]
) -> Recipe:
    name = names.listener(f"inbound_{address}_{item.port.listen}")
    inputs = (name, address, item, peers, netns)
    return Recipe(LISTENER, name, build_bound_inbound, inputs, (*sources, *item.policies.sources))


def build_bound_inbound(
    name: str, address: str, served: ServedPort, peers: Peers, netns: str
) -> listener_pb2.Listener:
    """Receives what others send to one port, which is its own."""
    made = _listener(name, address, served.port.listen, netns)
    if served.needs_inspection:
        made.listener_filters.append(listener_filter("tls_inspector"))
        if served.detects_plain_http:
            made.listener_filters.append(listener_filter("http_inspector"))
        _limit_detection(made)
    made.filter_chains.extend(served_chains(served, 0, peers))
    return made


def _limit_detection(made: Any) -> None:
    made.continue_on_listener_filters_timeout = True
    made.listener_filters_timeout.CopyFrom(duration(DETECTION_SECONDS))


def _listener(name: str, address: str, port: int, netns: str) -> Any:
    made = listener_pb2.Listener(name=name, traffic_direction=base_pb2.TrafficDirection.INBOUND)
    made.address.CopyFrom(listen_address(address, port, netns))
    made.access_log.append(handshake_log())
    return made
