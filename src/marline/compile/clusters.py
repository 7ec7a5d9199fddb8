"""Outbound clusters: one for each port and subset of a service.

Defaults are Istio's (istio.io, "DestinationRule" reference; Envoy's cluster documentation): least
request, a connect timeout of 10 s, no limits, and mTLS wherever the endpoint says that it can.
"""

from collections.abc import Iterator
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import config_source_pb2
from envoy.extensions.clusters.common.dns.v3 import dns_pb2
from envoy.extensions.clusters.dns.v3 import dns_cluster_pb2

from marline.api.resource import Ref
from marline.compile.backend_tls import backend_tls
from marline.compile.cluster_balancing import set_balancing
from marline.compile.cluster_limits import set_default_budget, set_limits, set_outlier_detection
from marline.compile.cluster_protocol import set_protocol
from marline.compile.cluster_spec import ClusterSpec, Discovery
from marline.compile.cluster_tls import set_proxy_protocol, set_transport
from marline.compile.credentials import may_use_credentials
from marline.compile.endpoints import (
    build_assignment,
    callable_endpoints,
    clustered_ports,
    port_cluster,
    port_endpoints,
    port_subsets,
)
from marline.compile.forward_proxy import set_forward_proxy
from marline.compile.locality import ANYWHERE, LocalityPolicy, locality_policy
from marline.compile.policy import Effective, effective
from marline.compile.resilience import resilience_policy, retry_budget
from marline.compile.resource import CLUSTER, Recipe
from marline.compile.routes_targets import duration
from marline.compile.telemetry import METADATA
from marline.compile.tls import credential_secret
from marline.mesh.destinations import DestinationPolicy
from marline.mesh.endpoints import identities
from marline.mesh.model import Capture, Endpoint, Port, Protocol, Proxy, Resolution, Role, Service, Workload
from marline.mesh.snapshot import MeshSnapshot


def cluster_recipes(
    snapshot: MeshSnapshot, proxy: Proxy, service: Service, client: Workload
) -> Iterator[Recipe]:
    """The clusters of every port and subset of a service, as a client sees it."""
    for spec in cluster_specs(snapshot, proxy, service, client):
        yield Recipe(CLUSTER, spec.name, build_cluster, (spec,), cluster_sources(spec, service))


def cluster_sources(spec: ClusterSpec, service: Service) -> tuple[Ref, ...]:
    policy = (spec.backend_tls.source,) if spec.backend_tls is not None else ()
    return (*(spec.rule.sources if spec.rule is not None else ()), *policy, service.source)


def cluster_specs(
    snapshot: MeshSnapshot, proxy: Proxy, service: Service, client: Workload
) -> Iterator[ClusterSpec]:
    """What those clusters are made of."""
    rule = snapshot.destination_rule(service.hostname, client.namespace, dict(client.labels))
    every = callable_endpoints(snapshot, service)
    discovery = discovery_of(service, proxy)
    for port in clustered_ports(service, proxy):
        policy = resilience_policy(snapshot, service, port.name)
        for subset in port_subsets(rule, port):
            chosen = port_endpoints(every, port, rule, subset)
            # Those of the whole port, ready or not: what is expected does not change with health.
            sans = identities(port_endpoints(snapshot.all_endpoints(service), port, None, ""))
            found = _passes_through(rule, port, subset, proxy, discovery)
            name = port_cluster(service.hostname, port, subset)
            expected = tuple(sorted({*sans, *service.subject_alt_names}))
            yield ClusterSpec(
                name=name,
                hostname=service.hostname,
                port=port,
                # Gateways do not, as in Istio: who speaks HTTP/2 to them knows nothing of the backend
                # (istio.io, "Protocol Selection").
                follows_client=port.protocol is Protocol.AUTO and proxy.role is not Role.GATEWAY,
                subset=subset,
                rule=rule,
                by_client=service.client_affinity,
                discovery=found,
                expected=expected,
                listed=_listed(service, port, chosen, found),
                prefers=_preference(rule, service, port, subset, client, found),
                all_mtls=found is Discovery.ORIGINAL and _all_mtls(snapshot, service, port, rule, subset),
                credential=_credential(rule, port, subset, proxy),
                backend_tls=backend_tls(snapshot, proxy, service, port),
                system_ca_file=proxy.system_ca_file,
                budget=retry_budget(policy),
                connect_seconds=snapshot.settings.connect_seconds,
                dns_refresh_seconds=snapshot.settings.dns_refresh_seconds,
                peers=snapshot.mesh_peers,
                external=service.external,
            )


def _preference(
    rule: DestinationPolicy | None,
    service: Service,
    port: Port,
    subset: str,
    client: Workload,
    discovery: Discovery,
) -> LocalityPolicy:
    """Where EDS lists the endpoints, it also says whom the client prefers."""
    if discovery is not Discovery.STRICT_DNS:
        return ANYWHERE
    return locality_policy(effective(rule, port.number, subset), service, client)


def _credential(rule: DestinationPolicy | None, port: Port, subset: str, proxy: Proxy) -> str:
    tls = effective(rule, port.number, subset).tls
    if rule is None or tls is None or not tls.credential_name or not may_use_credentials(rule, proxy):
        return ""
    return credential_secret(proxy.workloads[0].namespace, tls.credential_name)


def _all_mtls(
    snapshot: MeshSnapshot, service: Service, port: Port, rule: DestinationPolicy | None, subset: str
) -> bool:
    members = port_endpoints(snapshot.all_endpoints(service), port, rule, subset)
    return bool(members) and all(snapshot.calls_with_mtls(item, port) for item in members)


def _listed(
    service: Service, port: Port, chosen: tuple[Endpoint, ...], discovery: Discovery
) -> tuple[Endpoint, ...]:
    """What DNS has to resolve. The original address of a connection is not known under explicit capture;
    then the service's name leads there."""
    if discovery not in (Discovery.STRICT_DNS, Discovery.LOGICAL_DNS):
        return ()
    if service.resolution is Resolution.NONE:
        return (Endpoint(port.name, service.hostname, port.number),)
    return chosen


def discovery_of(service: Service, proxy: Proxy) -> Discovery:
    """How a proxy finds the endpoints of a service."""
    by_address = proxy.capture is Capture.TRANSPARENT and proxy.role is not Role.GATEWAY
    if service.headless:
        return Discovery.ORIGINAL if by_address else Discovery.EDS
    if service.resolution is Resolution.NONE:
        if by_address:
            return Discovery.ORIGINAL
        return Discovery.FORWARD if service.hostname.startswith("*") else Discovery.STRICT_DNS
    return {
        Resolution.EDS: Discovery.EDS,
        Resolution.DNS: Discovery.STRICT_DNS,
        Resolution.DNS_ROUND_ROBIN: Discovery.LOGICAL_DNS,
        Resolution.DYNAMIC_DNS: Discovery.FORWARD,
    }[service.resolution]


def _passes_through(
    rule: DestinationPolicy | None, port: Port, subset: str, proxy: Proxy, discovery: Discovery
) -> Discovery:
    """`simple: PASSTHROUGH` sends to the address that the application chose, where there is one."""
    balancing = effective(rule, port.number, subset).load_balancer
    wanted = balancing is not None and balancing.simple == "PASSTHROUGH"
    if wanted and proxy.capture is Capture.TRANSPARENT and proxy.role is not Role.GATEWAY:
        return Discovery.ORIGINAL
    return discovery


def build_cluster(spec: ClusterSpec) -> cluster_pb2.Cluster:
    """An Envoy `Cluster`."""
    settings = effective(spec.rule, spec.port.number, spec.subset, by_client=spec.by_client)
    made = cluster_pb2.Cluster(name=spec.name)
    made.connect_timeout.CopyFrom(duration(spec.connect_seconds))
    made.metadata.filter_metadata[METADATA].update({"service": spec.hostname})
    _set_discovery(made, spec, settings)
    set_limits(made, settings.pool, settings.retry_budget)
    set_default_budget(made, spec.budget)
    set_outlier_detection(made, settings.outliers)
    by_request = spec.discovery is Discovery.FORWARD
    set_protocol(
        made,
        spec.port.protocol,
        settings.pool,
        by_request=by_request,
        verifies=_verifies(settings),
        negotiates=spec.backend_tls is not None,
        follows_client=spec.follows_client,
    )
    if spec.port.protocol is not Protocol.UDP:
        set_transport(made, spec, settings.tls)
        set_proxy_protocol(made, settings.proxy_protocol)
    return made


def _verifies(settings: Effective) -> bool:
    return settings.tls is None or not settings.tls.insecure_skip_verify


def _set_discovery(made: Any, spec: ClusterSpec, settings: Effective) -> None:
    kind = cluster_pb2.Cluster
    # Without endpoints that are up there is nobody: a share of the dead is not better than that.
    made.common_lb_config.healthy_panic_threshold.value = 0
    made.ignore_health_on_host_removal = True
    if spec.discovery is Discovery.FORWARD:
        set_forward_proxy(made, insecure=not _verifies(settings))
        return
    if spec.discovery is Discovery.ORIGINAL:
        made.type, made.lb_policy = kind.DiscoveryType.ORIGINAL_DST, kind.LbPolicy.CLUSTER_PROVIDED
        return
    set_balancing(made, settings)
    if spec.discovery is Discovery.EDS:
        made.type = kind.DiscoveryType.EDS
        made.eds_cluster_config.service_name = made.name
        made.eds_cluster_config.eds_config.ads.SetInParent()
        made.eds_cluster_config.eds_config.resource_api_version = config_source_pb2.ApiVersion.V3
        return
    names = dns_cluster_pb2.DnsCluster(
        dns_lookup_family=dns_pb2.DnsLookupFamily.V4_PREFERRED,
        respect_dns_ttl=True,
        # With one name only; Envoy refuses a cluster without any, such as that of an empty subset.
        all_addresses_in_single_endpoint=spec.discovery is Discovery.LOGICAL_DNS and bool(spec.listed),
    )
    names.dns_refresh_rate.CopyFrom(duration(spec.dns_refresh_seconds))
    # A name that nobody resolves must not hold up what comes after: Envoy acknowledges no clusters while
    # one of them is warming.
    made.wait_for_warm_on_init.value = False
    made.cluster_type.name = "envoy.clusters.dns"
    made.cluster_type.typed_config.Pack(names)
    listed = spec.listed[:1] if spec.discovery is Discovery.LOGICAL_DNS else spec.listed
    made.load_assignment.CopyFrom(build_assignment(made.name, listed, spec.prefers))
