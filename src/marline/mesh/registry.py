"""The registry: services and their endpoints, kept up to date change by change.

A workload's change is applied to the services that select it, found by one label of their selectors;
a service's change to itself. What is recomputed is compared, so only real differences have an impact.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from marline.api.discovery import EndpointSliceBody
from marline.api.networking.service_entry import ServiceEntrySpec
from marline.api.networking.workload_entry import WorkloadEntrySpec
from marline.api.resource import Ref, Resource
from marline.mesh.endpoints import (
    SERVICE_NAME_LABEL,
    entry_labels,
    identities,
    inline_endpoints,
    slice_endpoints,
    workload_endpoints,
)
from marline.mesh.hosts import host_matches
from marline.mesh.model import Endpoint, MeshSettings, Port, Protocol, Resolution, Service
from marline.mesh.overlay import Groups, Overlay
from marline.mesh.services import is_single_address, services_of
from marline.mesh.visibility import age

LabelKey = tuple[str, str, str]
"""Namespace, label, value."""
Key = tuple[Ref, str]
"""A service: the resource that describes it, and its hostname."""
SERVICE: Final = ("", "Service")
SERVICE_ENTRY: Final = ("networking.istio.io", "ServiceEntry")
WORKLOAD_ENTRY: Final = ("networking.istio.io", "WorkloadEntry")
ENDPOINT_SLICE: Final = ("discovery.k8s.io", "EndpointSlice")


@dataclass(frozen=True, slots=True, eq=False)
class Registry:
    """The tables. By hostname those services come first that count where several claim it."""

    sources: Mapping[Ref, tuple[Service, ...]] = field(default_factory=dict)
    claims: Mapping[str, tuple[Service, ...]] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    endpoints: Mapping[Key, tuple[Endpoint, ...]] = field(default_factory=dict)
    selectors: Mapping[LabelKey, frozenset[Ref]] = field(default_factory=dict)
    labelled: Mapping[LabelKey, frozenset[Ref]] = field(default_factory=dict)
    slices: Mapping[tuple[str, str], frozenset[Ref]] = field(default_factory=dict)
    by_port: Mapping[int, frozenset[str]] = field(default_factory=dict)
    by_address: Mapping[tuple[str, int], frozenset[str]] = field(default_factory=dict)
    by_namespace: Mapping[str, frozenset[Key]] = field(default_factory=dict)
    claiming: Mapping[str, frozenset[Key]] = field(default_factory=dict)
    """By address: whoever has it, for the case that several say so."""

    def covered(self, hosts: Iterable[str]) -> set[str]:
        """The services that hosts of rules (also wildcards) are about."""
        found: set[str] = set()
        for host in hosts:
            if host.startswith("*"):
                found.update(name for name in self.services if host_matches(host, name))
            elif host in self.services:
                found.add(host)
        return found

    def claimants(self, hosts: Iterable[str]) -> Iterator[Service]:
        """All that services of some hosts are said to be."""
        for host in hosts:
            yield from self.claims[host]


@dataclass(slots=True)
class Differences:
    """What of the registry differs after a change."""

    hosts: set[str] = field(default_factory=set)
    endpoints: set[str] = field(default_factory=set)
    ports: set[int] = field(default_factory=set)
    addresses: set[tuple[str, int]] = field(default_factory=set)
    selecting: set[str] = field(default_factory=set)
    """Namespaces in which a service selects workloads in another way."""


def selector_key(namespace: str, selector: Iterable[tuple[str, str]]) -> LabelKey | None:
    """The label by which a selector is found: `app` if it has that, as the most telling one."""
    pairs = dict(selector)
    if not pairs:
        return None
    name = "app" if "app" in pairs else min(pairs)
    return (namespace, name, pairs[name])


def captured_at(service: Service, endpoints: Iterable[Endpoint]) -> frozenset[tuple[str, int]]:
    """The addresses at which a proxy needs listeners of a service's own, since what arrives there may
    not be HTTP, so no `Host` header says whom it is for."""
    ports = {port.name: port for port in service.ports if may_be_opaque(port)}
    if service.headless:
        return frozenset((item.address, item.port) for item in endpoints if item.service_port in ports)
    return frozenset(
        (address, port.number)
        for address in service.addresses
        if is_single_address(address)
        for port in ports.values()
    )


def may_be_opaque(port: Port) -> bool:
    return not port.protocol.is_http and port.protocol is not Protocol.UDP


class RegistryDraft:
    """A registry that is being changed. `resource` looks up a resource as it is after the change."""

    def __init__(self, base: Registry, settings: MeshSettings, kinds: Mapping[tuple[str, str], Any]) -> None:
        self._settings = settings
        self._kinds: Mapping[tuple[str, str], Overlay[Ref, Resource[Any]]] = kinds
        self._sources = Overlay(base.sources)
        self._claims = Overlay(base.claims)
        self._services = Overlay(base.services)
        self._endpoints = Overlay(base.endpoints)
        self._selectors = Groups(base.selectors)
        self._labelled = Groups(base.labelled)
        self._slices = Groups(base.slices)
        self._by_port = Groups(base.by_port)
        self._by_address = Groups(base.by_address)
        self._by_namespace = Groups(base.by_namespace)
        self._claiming = Groups(base.claiming)
        self._changed_sources: set[Ref] = set()
        self._stale_endpoints: set[Ref] = set()
        self.differences = Differences()

    def note(self, ref: Ref, old: Resource[Any] | None, new: Resource[Any] | None) -> None:
        """Take note of a changed resource of one of the registry's kinds."""
        if (ref.group, ref.kind) in (SERVICE, SERVICE_ENTRY):
            self._changed_sources.add(ref)
        elif (ref.group, ref.kind) == WORKLOAD_ENTRY:
            self._note_workload(ref, old, new)
        else:
            self._note_slice(ref, old, new)

    def _note_workload(
        self, ref: Ref, old: Resource[WorkloadEntrySpec] | None, new: Resource[WorkloadEntrySpec] | None
    ) -> None:
        before = set(entry_labels(old).items()) if old is not None else set()
        after = set(entry_labels(new).items()) if new is not None else set()
        for name, value in before - after:
            self._labelled.remove((ref.namespace, name, value), ref)
        for name, value in after - before:
            self._labelled.add((ref.namespace, name, value), ref)
        for name, value in before | after:
            self._stale_endpoints |= self._selectors.get((ref.namespace, name, value))

    def _note_slice(
        self, ref: Ref, old: Resource[EndpointSliceBody] | None, new: Resource[EndpointSliceBody] | None
    ) -> None:
        for item, update in ((old, self._slices.remove), (new, self._slices.add)):
            name = item.metadata.labels.get(SERVICE_NAME_LABEL) if item is not None else None
            if name:
                update((ref.namespace, name), ref)
                self._stale_endpoints.add(Ref(*SERVICE, ref.namespace, name))

    def finish(self) -> Registry:
        """Recompute what is stale."""
        for ref in self._changed_sources:
            self._replace_source(ref)
        for ref in self._changed_sources | self._stale_endpoints:
            for service in self._sources.get(ref) or ():
                self._recompute_endpoints(service)
        return Registry(
            self._sources.table(), self._claims.table(), self._services.table(), self._endpoints.table(),
            self._selectors.table(), self._labelled.table(), self._slices.table(), self._by_port.table(),
            self._by_address.table(), self._by_namespace.table(), self._claiming.table(),
        )  # fmt: skip

    def _resource(self, ref: Ref) -> Resource[Any] | None:
        table = self._kinds.get((ref.group, ref.kind))
        return table.get(ref) if table is not None else None

    def _replace_source(self, ref: Ref) -> None:
        resource = self._resource(ref)
        before = {item.hostname: item for item in self._sources.get(ref) or ()}
        made = services_of(resource, self._settings.cluster_domain) if resource is not None else ()
        after = {item.hostname: item for item in made}
        if after:
            self._sources.put(ref, tuple(after.values()))
        else:
            self._sources.drop(ref)
        for hostname in before.keys() | after.keys():
            old, new = before.get(hostname), after.get(hostname)
            if old != new:
                self._replace_service(hostname, old, new)

    def _replace_service(self, hostname: str, old: Service | None, new: Service | None) -> None:
        self.differences.hosts.add(hostname)
        if old is not None:
            self._unindex(old)
        source = old.source if old is not None else None
        claims = [item for item in self._claims.get(hostname) or () if item.source != source]
        for other in claims:
            # Which of several claims counts may change for some clients.
            self.differences.ports.update(port.number for port in other.ports)
            self.differences.addresses |= self._recapture(other)
        if new is not None:
            self._index(new)
            claims.append(new)
        claims.sort(key=self._precedence)
        if claims:
            self._claims.put(hostname, tuple(claims))
            self._services.put(hostname, claims[0])
        else:
            self._claims.drop(hostname)
            self._services.drop(hostname)
        numbers = {port.number for item in claims for port in item.ports}
        for number in numbers:
            self._by_port.add(number, hostname)
        for number in {port.number for port in old.ports} - numbers if old is not None else ():
            self._by_port.remove(number, hostname)

    def _recapture(self, service: Service) -> frozenset[tuple[str, int]]:
        found = captured_at(service, self._endpoints.get((service.source, service.hostname)) or ())
        for address in found:
            self._by_address.add(address, service.hostname)
        return found

    def _precedence(self, service: Service) -> tuple[bool, tuple[str, str, str]]:
        """A core Service counts before ServiceEntries for its name, as in Istio; then the oldest."""
        resource = self._resource(service.source)
        return (service.source.kind != "Service", age(resource) if resource is not None else ("", "", ""))

    def _index(self, service: Service) -> None:
        key = selector_key(service.namespace, service.selector)
        if key is not None:
            self._selectors.add(key, service.source)
            self.differences.selecting.add(service.namespace)
        self._by_namespace.add(service.namespace, (service.source, service.hostname))
        for address in service.addresses:
            self._claiming.add(address, (service.source, service.hostname))
            self.differences.hosts.update(hostname for _, hostname in self._claiming.get(address))
        self.differences.ports.update(port.number for port in service.ports)

    def _unindex(self, service: Service) -> None:
        key = selector_key(service.namespace, service.selector)
        if key is not None:
            # Another host of the same ServiceEntry has the same selector and stays; it is indexed again.
            self._selectors.remove(key, service.source)
            self.differences.selecting.add(service.namespace)
        self._by_namespace.remove(service.namespace, (service.source, service.hostname))
        for virtual in service.addresses:
            self._claiming.remove(virtual, (service.source, service.hostname))
            self.differences.hosts.update(hostname for _, hostname in self._claiming.get(virtual))
        self.differences.ports.update(port.number for port in service.ports)
        endpoints = self._endpoints.get((service.source, service.hostname)) or ()
        for address in captured_at(service, endpoints):
            self._by_address.remove(address, service.hostname)
            self.differences.addresses.add(address)
        self._endpoints.drop((service.source, service.hostname))
        self._reindex_remaining(service)

    def _reindex_remaining(self, service: Service) -> None:
        for other in self._sources.get(service.source) or ():
            key = selector_key(other.namespace, other.selector)
            if key is not None:
                self._selectors.add(key, other.source)

    def _recompute_endpoints(self, service: Service) -> None:
        key = (service.source, service.hostname)
        before = self._endpoints.get(key)
        after = self._endpoints_of(service)
        if after == before:
            return
        self._endpoints.put(key, after)
        if before is None or not _is_listed(service) or _peers(before) != _peers(after):
            self.differences.hosts.add(service.hostname)
        self.differences.endpoints.add(service.hostname)
        old = captured_at(service, before) if before is not None else frozenset()
        new = captured_at(service, after)
        for address in old - new:
            self._by_address.remove(address, service.hostname)
        for address in new - old:
            self._by_address.add(address, service.hostname)
        self.differences.addresses |= old ^ new

    def _endpoints_of(self, service: Service) -> tuple[Endpoint, ...]:
        found: list[Endpoint] = []
        resource = self._resource(service.source)
        if resource is not None and isinstance(resource.spec, ServiceEntrySpec):
            found += inline_endpoints(service, resource.spec, self._settings.trust_domain)
        else:
            refs = self._slices.get((service.namespace, service.name))
            found += slice_endpoints(service, self._present(refs))
        found += workload_endpoints(service, self._selected(service), self._settings.trust_domain)
        return tuple(found)

    def _selected(self, service: Service) -> list[Resource[WorkloadEntrySpec]]:
        key = selector_key(service.namespace, service.selector)
        if key is None:
            return []
        wanted = dict(service.selector)
        return [
            item
            for item in self._present(self._labelled.get(key))
            if wanted.items() <= entry_labels(item).items()
        ]

    def _present(self, refs: Iterable[Ref]) -> list[Resource[Any]]:
        found = (self._resource(ref) for ref in refs)
        return [item for item in found if item is not None]


def _peers(endpoints: tuple[Endpoint, ...]) -> tuple[frozenset[str], frozenset[bool]]:
    """What clusters say of a service's endpoints: whom to expect, and who takes mTLS."""
    return identities(endpoints), frozenset(item.mtls for item in endpoints)


def _is_listed(service: Service) -> bool:
    """Does EDS say where a service is? Else its endpoints stand in its clusters."""
    return service.resolution is Resolution.EDS and not service.headless
