"""DestinationRules as a client sees them: those of one namespace for one host, merged.

Istio, "Cross namespace configuration sharing": a rule in the client's namespace counts, else one in the
service's, else one in the root namespace. "Multiple destination rules for one host" in one namespace
are merged: subsets are added, the oldest rule's traffic policy counts. A rule with a workload selector
replaces all that for the clients that it selects, in its own namespace.
"""

from collections.abc import Iterator, Mapping, Sequence
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


def is_selective(rule: Resource[DestinationRuleSpec]) -> bool:
    """Is a rule for some clients only? An empty selector selects all."""
    return rule.spec.workload_selector is not None and bool(rule.spec.workload_selector.match_labels)


def policy_for(
    rules: Sequence[Resource[DestinationRuleSpec]], labels: Mapping[str, str] | None
) -> DestinationPolicy | None:
    """What rules of one namespace for one host say to a client of that namespace with these labels (None:
    a client elsewhere). Of several that select it those count together that do so by the same labels as
    the oldest."""
    selecting = (
        rule for rule in rules if is_selective(rule) and labels is not None and selects(rule, labels)
    )
    chosen = next((_selector(rule) for rule in selecting), {})
    counting = tuple(rule for rule in rules if _selector(rule) == chosen)
    return DestinationPolicy(counting) if counting else None


def _selector(rule: Resource[DestinationRuleSpec]) -> Mapping[str, str]:
    return rule.spec.workload_selector.match_labels if rule.spec.workload_selector is not None else {}


def selects(rule: Resource[DestinationRuleSpec], labels: Mapping[str, str]) -> bool:
    """Is a client of a rule's own namespace, with these labels, one that the rule is for?"""
    return _selector(rule).items() <= labels.items()
