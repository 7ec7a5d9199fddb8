"""A changed AuthorizationPolicy is compiled for the workloads that it is for, and for nobody else."""

import pytest
import yaml

from marline.api.decode import decode
from marline.compile.catalog import affected
from marline.compile.units import GatewayUnit, InboundUnit, Unit
from marline.mesh.model import Capture, ChangeSet, MeshSettings, Proxy, Role, Workload
from marline.mesh.snapshot import MeshSnapshot, advance, empty

REVIEWS, RATINGS = (
    Workload(namespace, name, labels=(("app", name),))
    for namespace, name in (("shop", "reviews"), ("shop", "ratings"))
)
ELSEWHERE = Workload("other", "reviews", labels=(("app", "reviews"),))
EDGE = Workload("istio-system", "edge", labels=(("istio", "ingressgateway"),))
PROXIES = {
    "reviews": Proxy("reviews", Role.SIDECAR, Capture.TRANSPARENT, (REVIEWS,)),
    "ratings": Proxy("ratings", Role.SIDECAR, Capture.EXPLICIT, (RATINGS,)),
    "elsewhere": Proxy("elsewhere", Role.SIDECAR, Capture.TRANSPARENT, (ELSEWHERE,)),
    "edge": Proxy("edge", Role.GATEWAY, Capture.EXPLICIT, (EDGE,)),
}
NODE = Proxy("node", Role.NODE, Capture.EXPLICIT, (REVIEWS, RATINGS, ELSEWHERE))
POLICY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: policy, namespace: %s}
spec: {%s, rules: [{from: [{source: {namespaces: [%s]}}]}]}
"""
BY_LABEL = "selector: {matchLabels: {app: reviews}}"
BY_NAMESPACE = "action: ALLOW"
BY_TARGET = "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: edge}]"


def changed(snapshot: MeshSnapshot, namespace: str, spec: str, caller: str) -> tuple[MeshSnapshot, set[str]]:
    """The mesh after a change, and the proxies for which something is compiled."""
    policy = decode(yaml.safe_load(POLICY % (namespace, spec, caller)))
    after, impact = advance(snapshot, ChangeSet((policy,), (), "2"))
    assert not impact.everything
    found: dict[str, list[Unit]] = {
        name: list(affected(after, proxy, impact)) for name, proxy in PROXIES.items()
    }
    for units in found.values():
        assert all(isinstance(unit, InboundUnit | GatewayUnit) for unit in units)
    return after, {name for name, units in found.items() if units}


@pytest.mark.parametrize(
    ("namespace", "spec", "expected"),
    [
        ("shop", BY_LABEL, {"reviews"}),
        ("shop", BY_NAMESPACE, {"reviews", "ratings"}),
        ("istio-system", BY_LABEL, {"reviews", "elsewhere"}),
        ("istio-system", BY_NAMESPACE, set(PROXIES)),
        ("shop", BY_TARGET, {"edge"}),
    ],
)
def test_a_policy_is_compiled_where_it_counts(namespace: str, spec: str, expected: set[str]) -> None:
    snapshot, _ = advance(empty(MeshSettings()), ChangeSet((), (), "1"))
    snapshot, first = changed(snapshot, namespace, spec, "shop")
    _, again = changed(snapshot, namespace, spec, "other")
    assert first == again == expected


def test_of_a_node_only_the_workload_that_is_meant() -> None:
    snapshot, _ = advance(empty(MeshSettings()), ChangeSet((), (), "1"))
    policy = decode(yaml.safe_load(POLICY % ("shop", BY_LABEL, "shop")))
    after, impact = advance(snapshot, ChangeSet((policy,), (), "2"))
    assert list(affected(after, NODE, impact)) == [InboundUnit(0)]
