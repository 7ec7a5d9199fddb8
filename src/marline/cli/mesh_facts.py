"""What the mesh makes of a service or a workload: the same pure functions that the control plane uses,
asked on the resources as they are now.
"""

import asyncio
from typing import Any, Final

import msgspec

from marline.api.networking.workload_entry import WorkloadEntrySpec
from marline.api.resource import Ref, Resource
from marline.mesh.endpoints import entry_labels, spiffe_id
from marline.mesh.model import ChangeSet, Endpoint, MeshSettings, Service
from marline.mesh.snapshot import MeshSnapshot, advance, empty
from marline.mesh.visibility import Scope
from marline.store.interface import ResourceStore

_NETWORKING: Final = "networking.istio.io"
SERVICE_KINDS: Final = (("", "Service"), (_NETWORKING, "ServiceEntry"))
WORKLOAD_KIND: Final = (_NETWORKING, "WorkloadEntry")
_READ: Final = (
    *SERVICE_KINDS,
    WORKLOAD_KIND,
    ("discovery.k8s.io", "EndpointSlice"),
    (_NETWORKING, "VirtualService"),
    (_NETWORKING, "DestinationRule"),
    ("security.istio.io", "PeerAuthentication"),
)


class EndpointFacts(msgspec.Struct, frozen=True, rename="camel"):
    """One address of a service."""

    port: str
    address: str
    workload: str
    ready: bool
    mtls: bool
    identity: str


class ServiceFacts(msgspec.Struct, frozen=True, rename="camel"):
    """One hostname, as callers in its own namespace see it."""

    hostname: str
    addresses: tuple[str, ...]
    ports: tuple[str, ...]
    endpoints: tuple[EndpointFacts, ...]
    rules: tuple[str, ...]
    """The resources that say how it is called."""


class WorkloadFacts(msgspec.Struct, frozen=True, rename="camel"):
    """One workload."""

    identity: str
    services: tuple[str, ...]
    mtls: str
    """What it accepts: `STRICT`, `PERMISSIVE` or `DISABLE`, and ports that differ."""
    policies: tuple[str, ...]
    """The resources that say so."""


async def read_mesh(store: ResourceStore, settings: MeshSettings) -> MeshSnapshot:
    """The mesh as the API has it now."""
    listings = await asyncio.gather(*(store.list(group, kind) for group, kind in _READ))
    found: tuple[Resource[Any], ...] = tuple(item for listing in listings for item in listing.items)
    snapshot, _ = advance(empty(settings), ChangeSet(found, resource_version="now"))
    return snapshot


def service_facts(mesh: MeshSnapshot, ref: Ref) -> tuple[ServiceFacts, ...]:
    """A Service has one hostname, a ServiceEntry may have several."""
    services = sorted(mesh.registry.sources.get(ref, ()), key=lambda item: item.hostname)
    return tuple(_service(mesh, service) for service in services)


def _service(mesh: MeshSnapshot, service: Service) -> ServiceFacts:
    rules: list[Ref] = []
    virtual = mesh.virtual_service(service.hostname, Scope(service.namespace))
    if virtual is not None:
        rules.append(virtual.ref)
    policy = mesh.destination_rule(service.hostname, service.namespace, {})
    rules += policy.sources if policy is not None else ()
    return ServiceFacts(
        hostname=service.hostname,
        addresses=service.addresses,
        ports=tuple(f"{port.name}:{port.number} ({port.protocol.value})" for port in service.ports),
        endpoints=tuple(_endpoint(mesh, service, item) for item in mesh.all_endpoints(service)),
        rules=tuple(str(ref) for ref in rules),
    )


def _endpoint(mesh: MeshSnapshot, service: Service, endpoint: Endpoint) -> EndpointFacts:
    port = next((item for item in service.ports if item.name == endpoint.service_port), None)
    return EndpointFacts(
        port=endpoint.service_port or str(port.number if port is not None else 0),
        address=f"{endpoint.address}:{endpoint.port}",
        workload=endpoint.workload,
        ready=endpoint.healthy,
        mtls=mesh.calls_with_mtls(endpoint, port),
        identity=endpoint.spiffe_id,
    )


def workload_facts(mesh: MeshSnapshot, ref: Ref) -> WorkloadFacts | None:
    """None if the mesh does not know the workload (any more)."""
    entry: Resource[WorkloadEntrySpec] | None = mesh.resource(ref)
    if entry is None:
        return None
    labels = entry_labels(entry)
    policy = mesh.peer_policy(entry.namespace, labels)
    ports = "".join(f", port {number}: {mode.value}" for number, mode in policy.ports)
    account = entry.spec.service_account or "default"
    return WorkloadFacts(
        identity=spiffe_id(mesh.settings.trust_domain, entry.namespace, account),
        services=tuple(item.hostname for item in mesh.services_selecting(entry.namespace, labels)),
        mtls=policy.mode.value + ports,
        policies=tuple(str(ref) for ref in policy.sources),
    )
