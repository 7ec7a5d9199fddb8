"""Endpoints by priority and weight, as a client of some place sees them; who shares them."""

from dataclasses import replace
from typing import Any

import pytest
from core_meshes import resources
from hypothesis import given
from hypothesis import strategies as st

from marline.compile.catalog import compile_unit
from marline.compile.locality import LocalityPolicy, covers, grouped
from marline.compile.units import EndpointsUnit
from marline.mesh.endpoints import parse_locality
from marline.mesh.model import (
    Capture,
    ChangeSet,
    Endpoint,
    Locality,
    MeshSettings,
    Proxy,
    Role,
    Workload,
    labels_of,
)
from marline.mesh.snapshot import MeshSnapshot, advance, empty

HOST = "reviews.default.svc.cluster.local"
MESH = """
{apiVersion: v1, kind: Service, metadata: {name: reviews, namespace: default},
 spec: {clusterIP: 10.96.0.1, selector: {app: reviews}, ports: [{name: http, port: 9080}]}}
---
{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: near, namespace: default},
 spec: {address: 10.0.0.1, locality: eu/a, labels: {app: reviews}}}
---
{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: far, namespace: default},
 spec: {address: 10.0.0.2, locality: us/a, labels: {app: reviews}}}
---
{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: r, namespace: default},
 spec: {host: reviews, trafficPolicy: %s}}
"""
names = st.sampled_from(["", "a", "b"])
localities = st.builds(Locality, names, names, names)
endpoints = st.lists(
    st.builds(
        Endpoint,
        st.just("http"),
        st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
        st.just(80),
        labels=st.dictionaries(names, names, max_size=2).map(labels_of),
        locality=localities,
        weight=st.integers(0, 5),
    ),
    max_size=8,
)
policies = st.builds(
    LocalityPolicy,
    labels=st.lists(st.tuples(names, names), max_size=3).map(tuple),
    near=st.none() | localities,
    fallback=st.none() | names,
)


def mesh(policy: str) -> MeshSnapshot:
    return advance(empty(MeshSettings()), ChangeSet(resources(MESH % policy), (), "1"))[0]


def seen_by(snapshot: MeshSnapshot, locality: str, **labels: str) -> tuple[Any, ...]:
    workload = Workload("default", locality, labels=labels_of(labels), locality=parse_locality(locality))
    proxy = Proxy(locality, Role.SIDECAR, Capture.TRANSPARENT, (workload,))
    return compile_unit(snapshot, proxy, EndpointsUnit(HOST))


@given(endpoints, policies)
def test_an_order_of_preference_loses_nobody_and_has_no_gap(
    listed: list[Endpoint], policy: LocalityPolicy
) -> None:
    groups = grouped(listed, policy)
    assert sorted(map(repr, listed)) == sorted(repr(item) for group in groups for item in group.endpoints)
    assert {group.priority for group in groups} == set(range(len({group.priority for group in groups})))
    assert all(item.locality == group.locality for group in groups for item in group.endpoints)


@given(endpoints, localities)
def test_the_nearer_is_never_behind_the_farther(listed: list[Endpoint], near: Locality) -> None:
    def common(locality: Locality) -> int:
        if locality.zone and not locality.region and locality.zone == near.zone:
            locality = replace(locality, region=near.region)
        pairs = zip(_parts(locality), _parts(near), strict=True)
        return next((index for index, (one, other) in enumerate(pairs) if one != other), 3)

    groups = grouped(listed, LocalityPolicy(near=near))
    for one in groups:
        for other in groups:
            assert one.priority <= other.priority or common(one.locality) <= common(other.locality)


def _parts(locality: Locality) -> tuple[str, str, str]:
    return (locality.region, locality.zone, locality.sub_zone)


def test_a_share_is_divided_among_its_localities_by_their_weights() -> None:
    placed = [
        Endpoint("http", "10.0.0.1", 80, locality=Locality("eu", "a"), weight=3),
        Endpoint("http", "10.0.0.2", 80, locality=Locality("eu", "b"), weight=1),
        Endpoint("http", "10.0.0.3", 80, locality=Locality("us", "a")),
        Endpoint("http", "10.0.0.4", 80, locality=Locality("asia", "a")),
    ]
    groups = grouped(placed, LocalityPolicy(shares=(("eu/*", 80), ("us/*", 20))))
    assert {(group.locality.region, group.locality.zone): group.weight for group in groups} == {
        ("eu", "a"): 60,
        ("eu", "b"): 20,
        ("us", "a"): 20,
    }


@pytest.mark.parametrize(
    ("patterns", "fits"),
    [("* eu eu/* eu/a eu/a/* eu/a/1", True), ("us/* eu/b/* eu/a/2", False)],
)
def test_a_pattern_covers_what_is_below_it(patterns: str, fits: bool) -> None:
    assert {covers(each, Locality("eu", "a", "1")) for each in patterns.split()} == {fits}


def test_clients_of_one_locality_share_endpoints_whatever_their_labels() -> None:
    snapshot = mesh("{outlierDetection: {interval: 1s}}")
    here = seen_by(snapshot, "eu/a", version="v1")
    assert seen_by(snapshot, "eu/a", version="v2") is here
    assert seen_by(snapshot, "us/a", version="v1") != here


def test_without_a_rule_that_asks_all_clients_share() -> None:
    snapshot = mesh("{loadBalancer: {simple: RANDOM}}")
    assert seen_by(snapshot, "us/a", version="v1") is seen_by(snapshot, "eu/a", version="v2")


def test_labels_that_a_rule_does_not_name_make_no_difference() -> None:
    setting = "{failoverPriority: [version]}"
    snapshot = mesh(f"{{outlierDetection: {{}}, loadBalancer: {{localityLbSetting: {setting}}}}}")
    first = seen_by(snapshot, "eu/a", version="v1", pod="1")
    assert seen_by(snapshot, "us/a", version="v1", pod="2") == first
    assert seen_by(snapshot, "eu/a", version="v2", pod="1") != first


@pytest.mark.parametrize(
    "policy",
    [
        LocalityPolicy(near=Locality("eu", "a")),
        LocalityPolicy(
            labels=(("topology.kubernetes.io/region", "eu"), ("topology.kubernetes.io/zone", "a"))
        ),
    ],
)
def test_a_zone_whose_region_is_not_said_is_the_clients_own_if_it_has_that_name(
    policy: LocalityPolicy,
) -> None:
    placed = [Endpoint("http", f"10.0.0.{zone}", 80, locality=Locality(zone=zone)) for zone in "ab"]
    first, second = grouped(placed, policy)
    assert ([item.locality.zone for item in first.endpoints], first.priority) == (["a"], 0)
    assert ([item.locality.zone for item in second.endpoints], second.priority) == (["b"], 1)
