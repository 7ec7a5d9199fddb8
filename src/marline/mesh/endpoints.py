"""Where services can be reached: endpoints from WorkloadEntries, EndpointSlices and ServiceEntries.

Endpoints that are not ready are kept, marked: their identities count, so that the clusters of a service
do not change with its health.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from marline.api.discovery import EndpointSliceBody
from marline.api.networking.service_entry import ServiceEntrySpec
from marline.api.networking.workload_entry import WorkloadEntrySpec
from marline.api.resource import Resource
from marline.mesh.model import Endpoint, Locality, Port, Protocol, Resolution, Service, labels_of

TLS_MODE_LABEL: Final = "security.istio.io/tlsMode"
NODE_LABEL: Final = "kubernetes.io/hostname"
"""On which node a workload runs, in Kubernetes' own words."""
SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"
MANAGED_BY: Final = "marline.io/managed-by"
"""Annotation of a `WorkloadEntry` whose life is that of a process: the node that registered it."""
PROBED_ANNOTATION: Final = "marline.io/readiness-probed"


def spiffe_id(trust_domain: str, namespace: str, service_account: str) -> str:
    """The identity of a service account (istio.io, "Istio identity"; SPIFFE-ID specification)."""
    return f"spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}"


def entry_labels(resource: Resource[WorkloadEntrySpec]) -> Mapping[str, str]:
    """A WorkloadEntry's labels: its metadata's and its spec's, of which the latter win."""
    return {**resource.metadata.labels, **resource.spec.labels}


def is_healthy(resource: Resource[WorkloadEntrySpec]) -> bool:
    """What its `Healthy` condition says; without one only a workload that is probed has to wait."""
    conditions = resource.status.get("conditions")
    for condition in conditions if isinstance(conditions, (list, tuple)) else ():
        if isinstance(condition, Mapping) and condition.get("type") == "Healthy":
            return bool(condition.get("status") == "True")
    return resource.metadata.annotations.get(PROBED_ANNOTATION) != "true"


def workload_endpoints(
    service: Service, entries: Iterable[Resource[WorkloadEntrySpec]], trust_domain: str
) -> list[Endpoint]:
    """The endpoints that selected WorkloadEntries give to a service."""
    found: list[Endpoint] = []
    for entry in sorted(entries, key=lambda item: item.name):
        labels = entry_labels(entry)
        made = _endpoints(service, entry.spec, labels, entry.namespace, entry.name, trust_domain)
        found += made if is_healthy(entry) else [replace(item, healthy=False) for item in made]
    return found


def inline_endpoints(service: Service, spec: ServiceEntrySpec, trust_domain: str) -> list[Endpoint]:
    """The endpoints written in a ServiceEntry; with DNS resolution and none, its host is the one."""
    if not spec.endpoints and service.resolution in (Resolution.DNS, Resolution.DNS_ROUND_ROBIN):
        if service.selector:
            return []
        only = WorkloadEntrySpec(address=service.hostname)
        return _endpoints(service, only, {}, service.namespace, "", trust_domain)
    found: list[Endpoint] = []
    for item in spec.endpoints:
        found += _endpoints(service, item, item.labels, service.namespace, "", trust_domain)
    return found


def _endpoints(
    service: Service,
    spec: WorkloadEntrySpec,
    labels: Mapping[str, str],
    namespace: str,
    name: str,
    trust_domain: str,
) -> list[Endpoint]:
    mtls = labels.get(TLS_MODE_LABEL) == "istio" and not service.external
    account = spec.service_account or ("default" if mtls else "")
    identity = spiffe_id(trust_domain, namespace, account) if account else ""
    sorted_labels = labels_of(labels)
    return [
        Endpoint(
            service_port=port.name,
            address=spec.address,
            port=_target(port, spec.ports),
            labels=sorted_labels,
            # Datagrams go to the application itself, which has no identity to show.
            spiffe_id=identity if port.protocol is not Protocol.UDP else "",
            mtls=mtls and port.protocol is not Protocol.UDP,
            locality=parse_locality(spec.locality),
            weight=spec.weight,
            workload=name,
            namespace=namespace,
            network=spec.network,
        )
        for port in service.ports
        if _target(port, spec.ports)
    ]


def _target(port: Port, named: Mapping[str, int]) -> int:
    """The workload's port for a service port: by the service port's name, by the target's name, or the
    number itself; 0 when the target is a name that the workload does not have."""
    if port.name in named:
        return named[port.name]
    if isinstance(port.target, str):
        return named.get(port.target, 0)
    return port.target or port.number


def slice_endpoints(service: Service, slices: Iterable[Resource[EndpointSliceBody]]) -> list[Endpoint]:
    """The endpoints of EndpointSlices; a slice without port names serves a service's only port."""
    found: list[Endpoint] = []
    transports = {port.name: "UDP" if port.protocol is Protocol.UDP else "TCP" for port in service.ports}
    for item in sorted(slices, key=lambda each: each.name):
        for port in item.spec.ports:
            name = port.name or ""
            if port.port is None or transports.get(name) != (port.protocol or "TCP"):
                continue
            for endpoint in item.spec.endpoints:
                conditions = endpoint.conditions
                target = endpoint.target_ref
                found += [
                    Endpoint(
                        service_port=name,
                        address=address,
                        port=port.port,
                        labels=((NODE_LABEL, endpoint.node_name),) if endpoint.node_name else (),
                        locality=Locality(zone=endpoint.zone or ""),
                        healthy=conditions is None or conditions.ready is not False,
                        workload=target.name if target is not None else "",
                        namespace=item.namespace,
                    )
                    for address in endpoint.addresses[:1]
                ]
    return found


def parse_locality(text: str) -> Locality:
    """`region/zone/subzone`, of which the latter may be missing."""
    region, _, rest = text.partition("/")
    zone, _, sub_zone = rest.partition("/")
    return Locality(region, zone, sub_zone)


def identities(endpoints: Iterable[Endpoint]) -> frozenset[str]:
    """The SPIFFE IDs that a client of these endpoints must expect."""
    return frozenset(item.spiffe_id for item in endpoints if item.spiffe_id)
