"""Marline's policies for a port of a workload: from the services that it belongs to."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from marline.api.policy.resilience import AdaptiveConcurrency, AdmissionControl
from marline.api.resource import Ref, Resource
from marline.compile.rate_limits import RateLimiter, rate_limiter
from marline.mesh.model import Service
from marline.mesh.policies import RATE_LIMIT, RESILIENCE
from marline.mesh.snapshot import MeshSnapshot


@dataclass(frozen=True, slots=True)
class PortPolicies:
    """What stands between a port and its callers."""

    concurrency: AdaptiveConcurrency | None = None
    admission: AdmissionControl | None = None
    limiter: RateLimiter | None = None
    sources: tuple[Ref, ...] = ()


NO_POLICIES: Final = PortPolicies()


def port_policies(snapshot: MeshSnapshot, services: list[Service], port_name: str) -> PortPolicies:
    """Where several services have a workload under one port, the first that has a policy says it."""
    if not snapshot.rules.policies:
        return NO_POLICIES
    serving = [item for item in services if any(port.name == port_name for port in item.ports)]
    resilience = next(_attached(snapshot, RESILIENCE, serving, port_name), None)
    limits = next(_attached(snapshot, RATE_LIMIT, serving, port_name), None)
    return PortPolicies(
        resilience.spec.adaptive_concurrency if resilience is not None else None,
        resilience.spec.admission_control if resilience is not None else None,
        rate_limiter(limits),
        tuple(item.ref for item in (resilience, limits) if item is not None),
    )


def _attached(
    snapshot: MeshSnapshot, kind: tuple[str, str], services: list[Service], port_name: str
) -> Iterator[Resource[Any]]:
    for service in services:
        found = snapshot.policy(kind, service.source, port_name, None)
        if found is not None:
            yield found
