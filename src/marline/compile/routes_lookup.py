"""What routing reads of the mesh, in one place: names, rules, destinations.

Everything here returns small values that become a recipe's inputs.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from marline.api.networking.virtual_service import Destination, VirtualServiceSpec
from marline.api.resource import Resource
from marline.compile.policy import Effective, effective
from marline.compile.resilience import hedging
from marline.compile.routes_active import MESH, RuleSet, Side, active_rules, destinations_of
from marline.compile.routes_domains import short_names
from marline.compile.routes_l4 import PLAIN_TCP, L4Route, L4Rule, TcpSettings, weighted
from marline.compile.routes_targets import (
    Target,
    Targets,
    default_port,
    outbound_cluster,
)
from marline.mesh.model import Protocol, Proxy, Resolution, Service
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.visibility import age

_SERVICE_ENTRY: Final = "ServiceEntry"


def source_namespace(proxy: Proxy) -> str:
    """The namespace of the workload whose requests these are. The routes of a proxy of several workloads
    are those of its first: each workload has listeners of its own only at its sidecar."""
    return proxy.workloads[0].namespace


def source_labels(proxy: Proxy) -> Mapping[str, str]:
    return dict(proxy.workloads[0].labels)


def find_service(snapshot: MeshSnapshot, hostname: str) -> Service | None:
    return snapshot.services.get(hostname)


def _seen(snapshot: MeshSnapshot, side: Side, hostname: str) -> Service | None:
    """The service that a destination means there: of several ServiceEntries of a host one that is seen."""
    found = snapshot.service(hostname, side.scope) if side.scope is not None else None
    return found or find_service(snapshot, hostname)


def cluster_hostname(snapshot: MeshSnapshot, name: str, namespace: str) -> str:
    """The FQDN of a Kubernetes Service."""
    return f"{name}.{namespace}.svc.{snapshot.settings.cluster_domain}"


def mesh_rules(snapshot: MeshSnapshot, proxy: Proxy, hostname: str, port: int) -> RuleSet | None:
    """The rules that a sidecar applies to a host on a port; None when no rule is about it.

    Several VirtualServices for a host are not merged for sidecars: the snapshot says which one counts.
    """
    namespace = source_namespace(proxy)
    virtual_service = snapshot.virtual_service(hostname, snapshot.scope(proxy))
    if virtual_service is None or not virtual_service.spec.http:
        return None
    side = Side(port, MESH, source_labels(proxy), namespace, scope=snapshot.scope(proxy))
    rules = rule_set(snapshot, virtual_service, side)
    return rules if rules.rules else None


def rule_set(snapshot: MeshSnapshot, virtual_service: Resource[VirtualServiceSpec], side: Side) -> RuleSet:
    """The `http` rules of a VirtualService and its delegates that count on a side."""
    merged = snapshot.merged(virtual_service)
    rules = active_rules(merged.resource, side)
    named = destinations_of(merged.resource.spec, rules)
    targets = resolve_targets(snapshot, merged.resource, side, named)
    return RuleSet(merged.resource, side.port, rules, targets, merged.origins, side.tls)


def resolve_targets(
    snapshot: MeshSnapshot,
    virtual_service: Resource[VirtualServiceSpec],
    side: Side,
    destinations: Iterable[Destination],
) -> Targets:
    """Where destinations lead. Short names are in the namespace of the rule, not of the client."""
    return Targets(
        tuple(
            (destination, _target(snapshot, virtual_service.namespace, side, destination))
            for destination in destinations
        )
    )


def _target(snapshot: MeshSnapshot, rule_namespace: str, side: Side, destination: Destination) -> Target:
    hostname, port = _port_of(snapshot, rule_namespace, side, destination)
    cluster = outbound_cluster(hostname, port, destination.subset)
    policy = _policy(snapshot, side, hostname, port, destination.subset)
    return Target(
        cluster,
        policy.hash,
        hedging=hedging(snapshot, _seen(snapshot, side, hostname), port),
        retries=snapshot.settings.default_retries,
    )


def _policy(snapshot: MeshSnapshot, side: Side, hostname: str, port: int, subset: str) -> Effective:
    rule = snapshot.destination_rule(hostname, side.namespace, side.labels)
    service = _seen(snapshot, side, hostname)
    return effective(rule, port, subset, by_client=service is not None and service.client_affinity)


def _port_of(
    snapshot: MeshSnapshot, rule_namespace: str, side: Side, destination: Destination
) -> tuple[str, int]:
    """The FQDN and the port that a destination means."""
    hostname = snapshot.resolve_host(destination.host, rule_namespace)
    if destination.port is not None and destination.port.number:
        return hostname, destination.port.number
    service = _seen(snapshot, side, hostname)
    ports = () if service is None else service.ports
    numbers = tuple(port.number for port in ports if port.protocol is not Protocol.UDP)
    return hostname, default_port(numbers, side.port)


def service_target(
    snapshot: MeshSnapshot, client_namespace: str, labels: Mapping[str, str], service: Service, port: int
) -> Target:
    """A service's port without any rule, for a client."""
    rule = snapshot.destination_rule(service.hostname, client_namespace, labels)
    policy = effective(rule, port, "", by_client=service.client_affinity)
    resolves = service.resolution is Resolution.DYNAMIC_DNS
    cluster = outbound_cluster(service.hostname, port)
    hedged = hedging(snapshot, service, port)
    return Target(cluster, policy.hash, resolves, hedged, snapshot.settings.default_retries)


def domain_names(snapshot: MeshSnapshot, proxy: Proxy, service: Service) -> tuple[str, ...]:
    """The abbreviations of a service's name that mean this service and no other where the proxy is."""
    names = short_names(service.hostname, source_namespace(proxy), snapshot.settings.cluster_domain)
    return tuple(name for name in names if find_service(snapshot, name) is None)


def domain_addresses(snapshot: MeshSnapshot, service: Service, port: int) -> tuple[str, ...]:
    """The addresses of a service that are names for it: two ServiceEntries may claim one address, and
    Envoy would refuse two virtual hosts with it, so the oldest has it."""
    if service.source.kind != _SERVICE_ENTRY:
        return service.addresses
    others = [
        other
        for hostname in snapshot.hosts_on_port(port)
        if (other := snapshot.services[hostname]) is not service and _precedes(snapshot, other, service)
    ]
    taken = {address for other in others for address in other.addresses}
    return tuple(address for address in service.addresses if address not in taken)


def _precedes(snapshot: MeshSnapshot, one: Service, other: Service) -> bool:
    first, second = snapshot.resource(one.source), snapshot.resource(other.source)
    if first is None or second is None or one.source.kind != _SERVICE_ENTRY:
        return True
    return (age(first), one.hostname) < (age(second), other.hostname)


def l4_route(
    snapshot: MeshSnapshot,
    virtual_service: Resource[VirtualServiceSpec],
    side: Side,
    rule: L4Rule,
    sni_hosts: tuple[str, ...],
) -> L4Route:
    """A `tcp` or `tls` rule with its destinations looked up, for the given SNI hosts."""
    targets = resolve_targets(snapshot, virtual_service, side, [item.destination for item in rule.route])
    return L4Route(
        weighted((targets[item.destination].cluster, item.weight) for item in rule.route),
        sni_hosts,
        rule.destination_subnets,
        rule.source_subnets,
        virtual_service.ref,
        _rule_settings(snapshot, virtual_service.namespace, side, rule),
    )


def _rule_settings(snapshot: MeshSnapshot, rule_namespace: str, side: Side, rule: L4Rule) -> TcpSettings:
    """Those of the destination; of several those that hold for the whole first one, as in Istio."""
    if not rule.route:
        return PLAIN_TCP
    destination = rule.route[0].destination
    hostname, port = _port_of(snapshot, rule_namespace, side, destination)
    subset = destination.subset if len(rule.route) == 1 else ""
    return tcp_settings(snapshot, side, hostname, port, subset)


def tcp_settings(
    snapshot: MeshSnapshot, side: Side, hostname: str, port: int, subset: str = ""
) -> TcpSettings:
    """What DestinationRules say of connections to a cluster."""
    settings = _policy(snapshot, side, hostname, port, subset)
    tcp = settings.pool.tcp if settings.pool is not None else None
    return TcpSettings(
        tcp.idle_timeout if tcp is not None else None,
        tcp.max_connection_duration if tcp is not None else None,
        settings.tunnel,
        settings.hash is not None and bool(settings.hash.use_source_ip),
    )
