"""Which endpoints a client prefers by where it is: shares by locality, or an order of failover.

istio.io, "Locality Load Balancing" and the reference of `LocalityLoadBalancerSetting`; kubernetes.io,
"Service", "Traffic distribution" and "Internal traffic policy".
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from marline.api.networking.destination_rule import LocalityLoadBalancerSetting
from marline.compile.policy import Effective
from marline.mesh.endpoints import NODE_LABEL
from marline.mesh.model import Endpoint, Labels, Locality, Service, Workload

REGION_LABEL: Final = "topology.kubernetes.io/region"
ZONE_LABEL: Final = "topology.kubernetes.io/zone"
SUBZONE_LABEL: Final = "topology.istio.io/subzone"
NETWORK_LABEL: Final = "topology.istio.io/network"
_SAME_ZONE: Final = (NETWORK_LABEL, REGION_LABEL, ZONE_LABEL)
DISTRIBUTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "PreferClose": (*_SAME_ZONE, SUBZONE_LABEL),
    "PreferSameZone": _SAME_ZONE,
    "PreferSameNode": (*_SAME_ZONE, SUBZONE_LABEL, NODE_LABEL),
}
"""A Service's `trafficDistribution` as the labels that an endpoint should share with its client."""
_PLACES: Final = 5
"""Nearest to farthest: the client's sub-zone, zone, region, the region to fail over to, elsewhere."""
_MAX_WEIGHT: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class LocalityPolicy:
    """What one client prefers. Of the client it says only what the rule asks for, so that all clients who
    prefer the same share their endpoints."""

    shares: tuple[tuple[str, int], ...] = ()
    """Weights of localities (`region/zone/*`); who is in none of them gets nothing."""
    labels: tuple[tuple[str, str], ...] = ()
    """An endpoint comes before others for every one of these that it has, the first counting most."""
    near: Locality | None = None
    """The client's place, of which the nearest endpoints come first."""
    fallback: str | None = None
    """The region that comes before all others, when none is left in the client's own."""
    node: str | None = None
    """The only node whose endpoints count."""


ANYWHERE: Final = LocalityPolicy()


@dataclass(frozen=True, slots=True)
class Group:
    """Endpoints of one locality and priority (0 first)."""

    locality: Locality
    endpoints: tuple[Endpoint, ...]
    weight: int
    priority: int = 0


def locality_policy(settings: Effective, service: Service, client: Workload) -> LocalityPolicy:
    """What a client of a service prefers, by the DestinationRule, else by the Service itself.

    Failover needs outlier detection, since without it no endpoint is ever found to be bad; a Service's
    own preference needs none.
    """
    rule = settings.load_balancer.locality_lb_setting if settings.load_balancer is not None else None
    node = _labels_of(client.labels, client.locality).get(NODE_LABEL, "") if service.node_local else None
    if rule is None and service.traffic_distribution in DISTRIBUTIONS:
        wanted = _wanted(DISTRIBUTIONS[service.traffic_distribution], client)
        return LocalityPolicy(labels=wanted, node=node)
    rule = rule or LocalityLoadBalancerSetting()
    if rule.enabled is False:
        return LocalityPolicy(node=node)
    if rule.distribute:
        return LocalityPolicy(shares=_shares(rule, client.locality), node=node)
    if settings.outliers is None:
        return LocalityPolicy(node=node)
    region = client.locality.region
    fallback = next((item.to for item in rule.failover if item.from_ == region), None)
    by_place = bool(rule.failover) or not rule.failover_priority
    return LocalityPolicy(
        labels=_wanted(rule.failover_priority, client),
        near=client.locality if by_place else None,
        fallback=fallback if by_place else None,
        node=node,
    )


def is_weighted(settings: Effective) -> bool:
    """Does Envoy choose a locality by its weight, and then an endpoint there? Only where a rule says so,
    as in Istio, since it makes less of what the load balancer knows."""
    rule = settings.load_balancer.locality_lb_setting if settings.load_balancer is not None else None
    if rule is None or rule.enabled is False:
        return False
    return bool(rule.distribute or (settings.outliers and (rule.failover or rule.failover_priority)))


def asks_for_labels(settings: Effective, service: Service) -> bool:
    """May clients of different labels prefer different endpoints?"""
    rule = settings.load_balancer.locality_lb_setting if settings.load_balancer is not None else None
    by_rule = rule is not None and bool(rule.failover_priority)
    return by_rule or service.node_local or service.traffic_distribution in DISTRIBUTIONS


def asks_for_locality(settings: Effective, service: Service) -> bool:
    """May clients of different localities prefer different endpoints?"""
    balancing = settings.load_balancer
    by_rule = balancing is not None and balancing.locality_lb_setting is not None
    return by_rule or settings.outliers is not None or asks_for_labels(settings, service)


def _shares(rule: LocalityLoadBalancerSetting, locality: Locality) -> tuple[tuple[str, int], ...]:
    """Those of the first `from` that the client is in."""
    for item in rule.distribute:
        if covers(item.from_, locality):
            return tuple(sorted(item.to.items(), key=lambda pair: (-_depth(pair[0]), pair[0])))
    return ()


def _depth(pattern: str) -> int:
    return sum(part not in ("*", "") for part in pattern.split("/"))


def _wanted(names: Iterable[str], client: Workload) -> tuple[tuple[str, str], ...]:
    """`label` means the client's own value, `label=value` that one."""
    own = _labels_of(client.labels, client.locality)
    pairs = (name.partition("=") for name in names)
    return tuple((name, value if is_given else own.get(name, "")) for name, is_given, value in pairs)


def _labels_of(labels: Labels, locality: Locality) -> Mapping[str, str]:
    """A workload's labels, and those of its place, as a Kubernetes node has them."""
    place = {
        REGION_LABEL: locality.region,
        ZONE_LABEL: locality.zone,
        SUBZONE_LABEL: locality.sub_zone,
    }
    return {**dict(labels), **{name: value for name, value in place.items() if value}}


def covers(pattern: str, locality: Locality) -> bool:
    """`region/zone/subzone`, of which `*` stands for all that follows; what is left out is any."""
    parts = (locality.region, locality.zone, locality.sub_zone)
    wanted = pattern.split("/")
    return all(want in ("*", "", part) for want, part in zip(wanted, parts, strict=False))


def grouped(endpoints: Iterable[Endpoint], policy: LocalityPolicy = ANYWHERE) -> list[Group]:
    """Endpoints as a client prefers them, in a fixed order; priorities count from 0 without gaps."""
    found: dict[tuple[Locality, int], list[Endpoint]] = {}
    for item in endpoints:
        place = _placed(item.locality, policy)
        labels = _labels_of(item.labels, place) if policy.labels or policy.node is not None else {}
        if policy.node is None or labels.get(NODE_LABEL, "") == policy.node:
            rank = _lacking(labels, policy.labels) * _PLACES + _distance(place, policy)
            found.setdefault((item.locality, rank), []).append(item)
    ranks = sorted({rank for _, rank in found})
    ordered = sorted(found.items(), key=lambda pair: (pair[0][1], _order(pair[0][0])))
    groups = [
        Group(locality, tuple(members), _weight(members), ranks.index(rank))
        for (locality, rank), members in ordered
    ]
    return _shared_out(groups, policy.shares) if policy.shares else groups


def _placed(locality: Locality, policy: LocalityPolicy) -> Locality:
    """An EndpointSlice names zones without their regions: the client's own zone is in its own region."""
    if locality.region or not locality.zone:
        return locality
    wanted = dict(policy.labels)
    near = policy.near or Locality(wanted.get(REGION_LABEL, ""), wanted.get(ZONE_LABEL, ""))
    return replace(locality, region=near.region) if near.zone == locality.zone else locality


def _lacking(labels: Mapping[str, str], wanted: tuple[tuple[str, str], ...]) -> int:
    """0 when an endpoint has all labels, more the earlier the first is that it lacks."""
    missing = (index for index, (name, value) in enumerate(wanted) if labels.get(name, "") != value)
    return len(wanted) - next(missing, len(wanted))


def _distance(locality: Locality, policy: LocalityPolicy) -> int:
    near = policy.near
    if near is None:
        return 0
    if locality.region != near.region:
        return 3 if policy.fallback in (None, locality.region) else 4
    if locality.zone != near.zone:
        return 2
    return 0 if locality.sub_zone == near.sub_zone else 1


def _shared_out(groups: list[Group], shares: tuple[tuple[str, int], ...]) -> list[Group]:
    """Each share is divided among its localities by their own weights; the narrowest pattern that covers
    a locality counts, since several may."""
    found: list[Group] = []
    left = groups
    for pattern, share in shares:
        inside = [group for group in left if covers(pattern, group.locality)]
        left = [group for group in left if group not in inside]
        total = sum(group.weight for group in inside)
        found += [
            Group(group.locality, group.endpoints, math.ceil(group.weight * share / total))
            for group in inside
            if share
        ]
    return sorted(found, key=lambda group: _order(group.locality))


def _weight(members: Iterable[Endpoint]) -> int:
    return min(sum(item.weight or 1 for item in members), _MAX_WEIGHT)


def _order(locality: Locality) -> tuple[str, str, str]:
    return (locality.region, locality.zone, locality.sub_zone)
