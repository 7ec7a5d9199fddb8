"""All checks, and `analyze`, which runs them."""

from collections.abc import Callable, Iterator
from typing import Final

from marline.analyze import (
    authorization,
    conflicts,
    edges,
    encryption,
    envoy_filters,
    failover,
    references,
    sidecars,
    tokens,
    traffic,
    workloads,
)
from marline.analyze.annotations import suppressed, unread_annotations
from marline.analyze.findings import Finding
from marline.analyze.names import NETWORKING
from marline.analyze.shadowing import unreachable_rules
from marline.mesh.endpoints import entry_labels
from marline.mesh.model import Proxy
from marline.mesh.snapshot import MeshSnapshot

Check = Callable[[MeshSnapshot], Iterator[Finding]]

_OF_RESOURCES: Final[tuple[Check, ...]] = (
    references.missing_destinations,
    references.missing_gateways,
    references.missing_delegates,
    references.missing_secrets,
    references.unserved_hosts,
    references.destination_rules_without_host,
    unreachable_rules,
    conflicts.conflicting_hosts,
    conflicts.conflicting_sidecars,
    conflicts.conflicting_gateways,
    conflicts.duplicate_certificates,
    traffic.weights,
    traffic.ambiguous_ports,
    traffic.retries_cut_off,
    traffic.cors_without_route,
    failover.failover_without_detection,
    workloads.undeclared_protocols,
    workloads.addresses_required,
    encryption.unverified_servers,
    encryption.unusable_credentials,
    edges.unbound_routes,
    edges.subsets_that_the_edge_does_not_know,
    edges.negative_conditions,
    envoy_filters.relative_operations,
    tokens.keys_without_tls,
    unread_annotations,
    authorization.unaskable_providers,
)
_OF_WORKLOADS: Final[tuple[Check, ...]] = (
    references.empty_subsets,
    workloads.services_without_endpoints,
    workloads.services_at_odds,
    encryption.conflicting_modes,
)
"""What can be said only if the workloads are known."""


def analyze(snapshot: MeshSnapshot, proxies: tuple[Proxy, ...] | None = None) -> tuple[Finding, ...]:
    """All findings of a mesh, the gravest first, then by resource and field.

    `proxies` are those that run; None: it is not known which do, so nothing is said of what none has. The
    same holds for workloads, as long as the mesh has none at all.
    """
    found = [finding for check in _OF_RESOURCES for finding in check(snapshot)]
    found += tokens.unverified_claims(snapshot, proxies)
    known = list(_workloads(snapshot, proxies))
    if known:
        found += [finding for check in _OF_WORKLOADS for finding in check(snapshot)]
        found += workloads.selectors_of_nothing(snapshot, known)
    if proxies is not None:
        found += edges.gateways_without_proxy(snapshot, proxies)
        found += traffic.calls_that_outlive_their_caller(snapshot, proxies)
        found += sidecars.listeners_without_effect(snapshot, proxies)
    kept = {finding: None for finding in found if not _is_suppressed(snapshot, finding)}
    return tuple(sorted(kept, key=lambda item: (-item.code.severity, item.code.code, item.ref, item.path)))


def _workloads(
    snapshot: MeshSnapshot, proxies: tuple[Proxy, ...] | None
) -> Iterator[tuple[str, dict[str, str]]]:
    for entry in snapshot.resources(NETWORKING, "WorkloadEntry"):
        yield entry.namespace, dict(entry_labels(entry))
    for proxy in proxies or ():
        for workload in proxy.workloads:
            yield workload.namespace, dict(workload.labels)


def _is_suppressed(snapshot: MeshSnapshot, finding: Finding) -> bool:
    item = snapshot.resource(finding.ref)
    return item is not None and suppressed(finding, item.metadata.annotations)
