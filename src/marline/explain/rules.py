"""From a route or cluster back to the fields that say how it is: a rule's parts, a DestinationRule's."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from marline.api.networking.destination_rule import DestinationRuleSpec, TrafficPolicy
from marline.api.resource import Ref, Resource
from marline.explain.origin import Place
from marline.mesh.snapshot import MeshSnapshot

_RULE: Final = re.compile(r"^(spec\.(?:http|rules)\[(\d+)\])")
_MATCH: Final = re.compile(r"\.match(?:es)?\[(\d+)\]$")

_OF_ALL_PORTS: Final = ("retryBudget",)
"""What settings for a port cannot say, and so do not replace."""


def rule_of(snapshot: MeshSnapshot, place: Place | None) -> Any | None:
    """The rule that a route is made of: an `http` entry of a VirtualService, a rule of an HTTPRoute."""
    found = _RULE.match(place.field) if place is not None else None
    resource = snapshot.resource(place.resource) if place is not None else None
    if found is None or resource is None:
        return None
    rules = resource.spec.http if ".http[" in found[1] else resource.spec.rules
    index = int(found[2])
    return rules[index] if index < len(rules) else None


def part_of(snapshot: MeshSnapshot, place: Place | None, *names: str) -> Place | None:
    """The first of these fields that the rule sets; None if it sets none of them."""
    rule = rule_of(snapshot, place)
    found = _RULE.match(place.field) if place is not None else None
    if rule is None or found is None or place is None:
        return None
    for name in names:
        value = getattr(rule, snake(name), None)
        if value not in (None, "", (), {}):
            return Place.at(place.resource, f"{found[1]}.{name}")
    return None


def destination_of(snapshot: MeshSnapshot, place: Place | None, number: int) -> Place | None:
    """The field of a rule's destination: the `number`th of those that get a share."""
    rule = rule_of(snapshot, place)
    found = _RULE.match(place.field) if place is not None else None
    if rule is None or found is None or place is None:
        return None
    name = "route" if hasattr(rule, "route") else "backendRefs"
    all_of = rule.route if name == "route" else rule.backend_refs
    shared = [index for index, item in enumerate(all_of) if item.weight > 0 or len(all_of) == 1]
    return Place.at(place.resource, f"{found[1]}.{name}[{shared[number]}]") if number < len(shared) else None


def match_at(snapshot: MeshSnapshot, place: Place) -> Any | None:
    """The match that a field path names, if it names one."""
    rule, found = rule_of(snapshot, place), _MATCH.search(place.field)
    if rule is None or found is None:
        return None
    matches = rule.match if hasattr(rule, "match") else rule.matches
    return matches[int(found[1])]


def policy_place(
    snapshot: MeshSnapshot, sources: Iterable[Ref], port: int, subset: str, name: str
) -> Place | None:
    """Which DestinationRule says `loadBalancer`, `connectionPool`, `outlierDetection`, `tls` or `retryBudget`
    of a port of a subset; None: Istio's default counts. The order is that of `compile.policy`."""
    rules = list(_destination_rules(snapshot, sources))
    for rule in rules:
        for index, named in enumerate(rule.spec.subsets):
            if subset and named.name == subset and named.traffic_policy is not None:
                prefix = f"spec.subsets[{index}].trafficPolicy"
                place, is_final = _in_policy(rule.ref, prefix, named.traffic_policy, port, name)
                if place is not None or is_final:
                    return place
    for rule in rules:
        if rule.spec.traffic_policy is not None:
            return _in_policy(rule.ref, "spec.trafficPolicy", rule.spec.traffic_policy, port, name)[0]
    return None


def subset_place(snapshot: MeshSnapshot, sources: Iterable[Ref], subset: str) -> Place | None:
    """Where a subset is defined."""
    for rule in _destination_rules(snapshot, sources):
        for index, named in enumerate(rule.spec.subsets):
            if named.name == subset:
                return Place.at(rule.ref, f"spec.subsets[{index}]")
    return None


def _destination_rules(
    snapshot: MeshSnapshot, sources: Iterable[Ref]
) -> Iterator[Resource[DestinationRuleSpec]]:
    for ref in sources:
        found = snapshot.resource(ref) if ref.kind == "DestinationRule" else None
        if found is not None:
            yield found


def _in_policy(
    ref: Ref, prefix: str, policy: TrafficPolicy, port: int, name: str
) -> tuple[Place | None, bool]:
    """The field, and whether nothing that is more general can count."""
    for index, item in enumerate(policy.port_level_settings if name not in _OF_ALL_PORTS else ()):
        if item.port is not None and item.port.number == port:
            found = f"{prefix}.portLevelSettings[{index}]"
            return (Place.at(ref, f"{found}.{name}") if getattr(item, snake(name)) else None), True
    return (Place.at(ref, f"{prefix}.{name}") if getattr(policy, snake(name)) else None), False


def snake(name: str) -> str:
    """A field as the models call it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
