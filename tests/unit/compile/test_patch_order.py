"""Whom an EnvoyFilter is for, and in which order several are applied."""

from collections import Counter
from typing import Any

import pytest
from patch_mesh import GATEWAY, REVIEWS, TRANSPARENT, envoy_filter, made, mesh, patched

from marline.compile.catalog import affected
from marline.compile.units import HostUnit, InboundUnit
from marline.mesh.model import ChangeSet, Proxy
from marline.mesh.snapshot import advance

OF_RATINGS = "{cluster: {service: ratings.default.svc.cluster.local}}"
CLUSTER = f"outbound|9080||{REVIEWS}"


def timeout(seconds: int) -> str:
    return f"[{{applyTo: CLUSTER, patch: {{operation: MERGE, value: {{connect_timeout: {seconds}s}}}}}}]"


def effective(*filters: Any) -> int:
    return int(made(mesh(*filters), TRANSPARENT, CLUSTER).connect_timeout.seconds)


def test_the_namespaces_own_come_after_the_root_namespaces() -> None:
    own = envoy_filter(timeout(2), "own", namespace="default", created="2020-01-01T00:00:00Z", priority=-5)
    assert effective(own, envoy_filter(timeout(1), "mesh", priority=5)) == 2


def test_lower_priorities_come_first_then_older_ones_then_by_name() -> None:
    old, young = "2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z"
    assert effective(envoy_filter(timeout(1), created=young, priority=-1), envoy_filter(timeout(2), "b")) == 2
    assert effective(envoy_filter(timeout(1), created=young), envoy_filter(timeout(2), "b", created=old)) == 1
    assert effective(envoy_filter(timeout(1), "b"), envoy_filter(timeout(2), "a")) == 1


@pytest.mark.parametrize(
    ("said", "proxy", "is_for_it"),
    [
        ({"namespace": "istio-system"}, TRANSPARENT, True),
        ({"namespace": "default"}, TRANSPARENT, True),
        ({"namespace": "other"}, TRANSPARENT, False),
        ({"workloadSelector": {"labels": {"app": "reviews"}}}, TRANSPARENT, True),
        ({"workloadSelector": {"labels": {"app": "ratings"}}}, TRANSPARENT, False),
        (
            {"targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "x"}]},
            GATEWAY,
            True,
        ),
        (
            {"targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "x"}]},
            TRANSPARENT,
            False,
        ),
    ],
)
def test_who_is_selected(said: dict[str, Any], proxy: Proxy, is_for_it: bool) -> None:
    assert bool(patched(mesh(envoy_filter(timeout(1), **said)), proxy)) is is_for_it


@pytest.mark.parametrize(
    ("namespace", "patches", "touched"),
    [
        ("other", timeout(1), {}),
        ("default", timeout(1), {HostUnit: 2, InboundUnit: 1}),
        ("default", "[{applyTo: HTTP_FILTER, patch: {operation: ADD, value: {name: x}}}]",
         {InboundUnit: 1}),
        ("default", f"[{{applyTo: CLUSTER, match: {OF_RATINGS}, patch: {{operation: REMOVE}}}}]",
         {HostUnit: 1, InboundUnit: 1}),
    ],
)  # fmt: skip
def test_a_change_touches_the_proxies_that_it_selects_and_of_hosts_those_that_it_names(
    namespace: str, patches: str, touched: dict[type, int]
) -> None:
    before = mesh(envoy_filter(patches, namespace=namespace))
    item = envoy_filter(patches, namespace=namespace, priority=1)
    after, impact = advance(before, ChangeSet((item,), (), "2"))
    found = Counter(type(unit) for unit in affected(after, TRANSPARENT, impact))
    assert {kind: found[kind] for kind in (HostUnit, InboundUnit) if found[kind]} == touched
