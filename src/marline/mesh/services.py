"""From core/v1 Services and Istio's ServiceEntries to the mesh's `Service`s."""

import ipaddress
from collections.abc import Mapping
from typing import Any, Final

from marline.api.core import ServiceSpec
from marline.api.networking.service_entry import ServiceEntrySpec
from marline.api.resource import Resource
from marline.mesh.model import Port, Resolution, Service, labels_of
from marline.mesh.protocol import select_protocol

EXPORT_TO_ANNOTATION: Final = "networking.istio.io/exportTo"
DISTRIBUTION_ANNOTATION: Final = "networking.istio.io/traffic-distribution"
"""`trafficDistribution` where a kind (or a Kubernetes version) has no such field, as in Istio."""
_RESOLUTIONS: Final = {
    "NONE": Resolution.NONE,
    "STATIC": Resolution.EDS,
    "DNS": Resolution.DNS,
    "DNS_ROUND_ROBIN": Resolution.DNS_ROUND_ROBIN,
    "DYNAMIC_DNS": Resolution.DYNAMIC_DNS,
}


def services_of(resource: Resource[Any], cluster_domain: str) -> tuple[Service, ...]:
    """What a Service or ServiceEntry describes: one service for each of its hosts."""
    if isinstance(resource.spec, ServiceSpec):
        return (_service(resource, resource.spec, cluster_domain),)
    if isinstance(resource.spec, ServiceEntrySpec):
        return tuple(_entry(resource, resource.spec, host) for host in resource.spec.hosts)
    return ()


def _service(resource: Resource[Any], spec: ServiceSpec, cluster_domain: str) -> Service:
    headless = spec.cluster_ip == "None"
    addresses = spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ())
    exported = resource.metadata.annotations.get(EXPORT_TO_ANNOTATION, "")
    return Service(
        hostname=f"{resource.name}.{resource.namespace}.svc.{cluster_domain}",
        namespace=resource.namespace,
        name=resource.name,
        ports=tuple(
            Port(
                port.port,
                port.name,
                select_protocol(port.port, port.name, port.app_protocol, port.protocol),
                port.target_port or 0,
            )
            for port in spec.ports
        ),
        source=resource.ref,
        addresses=() if headless else tuple(addresses),
        export_to=tuple(item.strip() for item in exported.split(",") if item.strip()) or ("*",),
        selector=labels_of(spec.selector),
        headless=headless,
        traffic_distribution=spec.traffic_distribution
        or resource.metadata.annotations.get(DISTRIBUTION_ANNOTATION, ""),
        client_affinity=spec.session_affinity == "ClientIP",
        publishes_not_ready=spec.publish_not_ready_addresses,
        node_local=spec.internal_traffic_policy == "Local",
    )


def _entry(resource: Resource[Any], spec: ServiceEntrySpec, host: str) -> Service:
    selector = spec.workload_selector
    return Service(
        hostname=host.lower(),
        namespace=resource.namespace,
        name=resource.name,
        ports=tuple(
            Port(
                port.number,
                port.name,
                select_protocol(port.number, port.name, port.protocol),
                port.target_port,
            )
            for port in spec.ports
        ),
        source=resource.ref,
        addresses=spec.addresses or _assigned(resource, host),
        resolution=_RESOLUTIONS[spec.resolution],
        external=spec.location == "MESH_EXTERNAL",
        export_to=spec.export_to or ("*",),
        selector=labels_of(selector.labels) if selector is not None else (),
        subject_alt_names=spec.subject_alt_names,
        traffic_distribution=resource.metadata.annotations.get(DISTRIBUTION_ANNOTATION, ""),
    )


def _assigned(resource: Resource[Any], host: str) -> tuple[str, ...]:
    """The virtual IPs that the control plane assigned (status.addresses, as in Istio)."""
    assigned = resource.status.get("addresses")
    return tuple(
        str(item["value"])
        for item in (assigned if isinstance(assigned, (list, tuple)) else ())
        if isinstance(item, Mapping) and item.get("value") and item.get("host", host) == host
    )


def is_single_address(address: str) -> bool:
    """Is a ServiceEntry's address one IP address, not a CIDR block?"""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True
