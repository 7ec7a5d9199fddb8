"""Whether somebody has to count for all proxies: the rate-limit service is started when a policy wants it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from marline.api.policy.rate_limit import RateLimitPolicySpec
from marline.api.resource import Resource
from marline.mesh.model import ChangeSet


@dataclass(slots=True)
class RateLimitDemand:
    """Says so once, so that a mesh without global limits does not pay for the service."""

    wanted: Callable[[], None]
    _said: bool = False

    def changed(self, change: ChangeSet) -> None:
        if not self._said and any(wants_counting(item) for item in change.changed):
            self._said = True
            self.wanted()


def wants_counting(resource: Resource[Any]) -> bool:
    """Has a policy limits that the mesh's own rate-limit service counts?"""
    spec = resource.spec
    if not isinstance(spec, RateLimitPolicySpec) or spec.global_limits.service is not None:
        return False
    return any(limit.scope == "Global" for limit in spec.limits)
