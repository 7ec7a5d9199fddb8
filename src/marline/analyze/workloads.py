"""Selectors that select nothing, and services that select the same workloads in ways that do not fit."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any, Final

from marline.analyze.findings import (
    ADDRESSES_REQUIRED,
    CONFLICTING_TARGETS,
    NO_ENDPOINTS,
    NO_WORKLOADS,
    PORT_NAME,
    SEVERAL_SERVICES,
    Finding,
)
from marline.analyze.names import NETWORKING
from marline.api.resource import Ref, Resource
from marline.mesh.endpoints import entry_labels
from marline.mesh.model import Port, Protocol, Resolution, Service
from marline.mesh.snapshot import MeshSnapshot

_SELECTING: Final = (
    (NETWORKING, "Sidecar", "workloadSelector"),
    (NETWORKING, "DestinationRule", "workloadSelector"),
    (NETWORKING, "EnvoyFilter", "workloadSelector"),
    (NETWORKING, "ProxyConfig", "selector"),
    ("security.istio.io", "PeerAuthentication", "selector"),
    ("security.istio.io", "RequestAuthentication", "selector"),
    ("extensions.istio.io", "WasmPlugin", "selector"),
)
"""Kinds whose resources are for workloads of their namespace (of all, in the root namespace)."""
_ATTRIBUTES: Final = {"workloadSelector": "workload_selector", "selector": "selector"}


def selectors_of_nothing(
    snapshot: MeshSnapshot, workloads: Iterable[tuple[str, Mapping[str, str]]]
) -> Iterator[Finding]:
    """`workloads`: namespace and labels of each that there is."""
    known = list(workloads)
    for group, kind, name in _SELECTING:
        for item in sorted(snapshot.resources(group, kind), key=lambda each: each.ref):
            selector = getattr(item.spec, _ATTRIBUTES[name], None)
            wanted = _labels(selector)
            anywhere = item.namespace == snapshot.settings.root_namespace
            if wanted and not any(
                (anywhere or namespace == item.namespace) and wanted.items() <= labels.items()
                for namespace, labels in known
            ):
                message = f"no workload of namespace {item.namespace} has the labels {_text(wanted)}"
                yield Finding(NO_WORKLOADS, item.ref, f"spec.{name}", message)


def _labels(selector: Any) -> Mapping[str, str]:
    """Istio's two kinds of selector call their labels differently."""
    found: Mapping[str, str] = getattr(selector, "labels", None) or getattr(selector, "match_labels", {})
    return found


def _text(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def services_without_endpoints(snapshot: MeshSnapshot) -> Iterator[Finding]:
    for service in _services(snapshot):
        if service.selector and service.resolution is Resolution.EDS and not snapshot.all_endpoints(service):
            path = "spec.selector" if service.source.kind == "Service" else "spec.workloadSelector"
            message = f"no workload has the labels {_text(dict(service.selector))}"
            yield Finding(NO_ENDPOINTS, service.source, path, message)


def _services(snapshot: MeshSnapshot) -> list[Service]:
    found = {service for services in snapshot.registry.claims.values() for service in services}
    return sorted(found, key=lambda item: (item.source, item.hostname))


def undeclared_protocols(snapshot: MeshSnapshot) -> Iterator[Finding]:
    for service in _services(snapshot):
        for index, port in enumerate(service.ports if service.source.kind == "Service" else ()):
            if port.protocol is Protocol.AUTO:
                name = f"the name {port.name!r} of port" if port.name else "a port without name,"
                message = f"{name} {port.number} does not say its protocol"
                yield Finding(PORT_NAME, service.source, f"spec.ports[{index}].name", message)


def addresses_required(snapshot: MeshSnapshot) -> Iterator[Finding]:
    """TCP that only its port tells apart. A host with endpoints is given an address by the mesh."""
    for service in _services(snapshot):
        if service.source.kind != "ServiceEntry" or service.addresses:
            continue
        if service.resolution is not Resolution.NONE and not service.hostname.startswith("*"):
            continue
        for index, port in enumerate(service.ports):
            if port.protocol in (Protocol.TCP, Protocol.AUTO):
                message = f"{service.hostname} has no address, and port {port.number} carries TCP"
                yield Finding(ADDRESSES_REQUIRED, service.source, f"spec.ports[{index}]", message)


def services_at_odds(snapshot: MeshSnapshot) -> Iterator[Finding]:
    """Two services of one workload that want one of its ports in different ways; each pair once."""
    seen: set[tuple[Ref, Ref, int]] = set()
    for entry in sorted(snapshot.resources(NETWORKING, "WorkloadEntry"), key=lambda item: item.ref):
        services = snapshot.services_selecting(entry.namespace, entry_labels(entry))
        for one, other in combinations(services, 2):
            for finding, target in _at_odds(entry, one, other):
                if (one.source, other.source, target) not in seen:
                    seen.add((one.source, other.source, target))
                    yield finding


def _at_odds(entry: Resource[Any], one: Service, other: Service) -> Iterator[tuple[Finding, int]]:
    for mine in one.ports:
        for index, theirs in enumerate(other.ports):
            target = _target(entry, mine)
            if not target or target != _target(entry, theirs) or _transport(mine) != _transport(theirs):
                continue
            path = f"spec.ports[{index}]"
            both = f"{one.source} sends to port {target} of {entry.name} too"
            if mine.protocol is not theirs.protocol:
                message = f"{both}, as {mine.protocol.value} instead of {theirs.protocol.value}"
                yield Finding(SEVERAL_SERVICES, other.source, path, message), target
            elif mine.number != theirs.number:
                message = f"{both}, from its port {mine.number} instead of {theirs.number}"
                yield Finding(CONFLICTING_TARGETS, other.source, path, message), target


def _transport(port: Port) -> str:
    """What a port is one of: the same number of the other one is another port."""
    return "UDP" if port.protocol is Protocol.UDP else "TCP"


def _target(entry: Resource[Any], port: Port) -> int:
    named: Mapping[str, int] = entry.spec.ports
    if port.name in named:
        return named[port.name]
    if isinstance(port.target, str):
        return named.get(port.target, 0)
    return port.target or port.number
