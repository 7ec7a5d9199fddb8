"""Who sees what: `exportTo`, and the Sidecar resource that narrows a workload's view.

Istio, "Sidecar" reference: a Sidecar that selects the workload counts, else the namespace's, else the
root namespace's; without any, a workload sees all that is exported to its namespace.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marline.api.networking.sidecar import SidecarSpec
from marline.api.resource import Resource
from marline.mesh.hosts import host_matches
from marline.mesh.model import Service


def is_exported(export_to: tuple[str, ...], owner: str, namespace: str) -> bool:
    """Is something of the namespace `owner` exported to `namespace`? Nothing said: to all."""
    if not export_to or "*" in export_to:
        return True
    return namespace in export_to or ("." in export_to and owner == namespace)


def age(resource: Resource[Any]) -> tuple[str, str, str]:
    """A sort key: oldest first, then by name. Who was first keeps what others want too."""
    return (resource.metadata.creation_timestamp or "", resource.namespace, resource.name)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a workload may see. A value; equal scopes see the same."""

    namespace: str
    egress: tuple[tuple[str, str], ...] | None = None
    """(namespace, host) patterns of a Sidecar; None: everything that is exported."""
    allow_any: bool = True
    """Unknown destinations are let through (Istio: `outboundTrafficPolicy`)."""

    def sees(self, service: Service) -> bool:
        if not is_exported(service.export_to, service.namespace, self.namespace):
            return False
        if self.egress is None:
            return True
        return any(
            self._namespace_fits(namespace, service.namespace) and host_matches(host, service.hostname)
            for namespace, host in self.egress
        )

    def _namespace_fits(self, pattern: str, namespace: str) -> bool:
        return pattern in ("*", namespace) or (pattern == "." and namespace == self.namespace)


def select_sidecar(
    sidecars: Mapping[str, tuple[Resource[SidecarSpec], ...]],
    root_namespace: str,
    namespace: str,
    labels: Mapping[str, str],
) -> Resource[SidecarSpec] | None:
    """The Sidecar that counts for a workload; `sidecars` by namespace, oldest first."""
    own = sidecars.get(namespace, ())
    candidates = (
        *(item for item in own if _selector(item) and _fits(_selector(item), labels)),
        *(item for item in own if not _selector(item)),
        *(item for item in sidecars.get(root_namespace, ()) if not _selector(item)),
    )
    return next(iter(candidates), None)


def scope_of(sidecar: Resource[SidecarSpec] | None, namespace: str, allow_any: bool) -> Scope:
    """What a workload of a namespace may see that has this Sidecar."""
    if sidecar is None:
        return Scope(namespace, None, allow_any)
    spec = sidecar.spec
    if spec.outbound_traffic_policy is not None:
        allow_any = spec.outbound_traffic_policy.mode == "ALLOW_ANY"
    if not spec.egress:
        return Scope(namespace, None, allow_any)
    patterns = [host.partition("/") for listener in spec.egress for host in listener.hosts]
    return Scope(namespace, tuple((first, last.lower()) for first, _, last in patterns), allow_any)


def _selector(item: Resource[SidecarSpec]) -> Mapping[str, str]:
    return item.spec.workload_selector.labels if item.spec.workload_selector is not None else {}


def _fits(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())
