"""DestinationRules as a client sees them: those of one namespace for one host, merged.

Istio, "Cross namespace configuration sharing": a rule in the client's namespace counts, else one in the
service's, else one in the root namespace. "Multiple destination rules for one host" in one namespace
are merged: subsets are added, the oldest rule's traffic policy counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from marline.api.networking.destination_rule import DestinationRuleSpec, Subset, TrafficPolicy
from marline.api.resource import Ref, Resource


@dataclass(frozen=True, slots=True)
class DestinationPolicy:
    """The rules that count together, oldest first. A value: equal when the rules say the same."""

    resources: tuple[Resource[DestinationRuleSpec], ...]

    @property
    def traffic_policy(self) -> TrafficPolicy | None:
        given = (item.spec.traffic_policy for item in self.resources)
        return next((policy for policy in given if policy is not None), None)

    def subsets(self) -> Iterator[Subset]:
        """Each subset once: the oldest rule that names it defines it."""
        seen: set[str] = set()
        for item in self.resources:
            for subset in item.spec.subsets:
                if subset.name not in seen:
                    seen.add(subset.name)
                    yield subset

    def subset(self, name: str) -> Subset | None:
        return next((item for item in self.subsets() if item.name == name), None)

    @property
    def sources(self) -> tuple[Ref, ...]:
        return tuple(item.ref for item in self.resources)
