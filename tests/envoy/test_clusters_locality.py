"""Requests stay near their client, or go where a rule sends them by locality."""

import pytest
from called_service import Caller, called, rule

NEAR = {"locality": "eu/one/a"}
SAME_ZONE = {"locality": "eu/one/b"}
SAME_REGION = {"locality": "eu/two/a"}
FAR = {"locality": "us/one/a"}
ELSEWHERE = {"locality": "asia/one/a"}
OUTLIERS = (
    "outlierDetection: {consecutive5xxErrors: 1, interval: 0.1s, "
    "baseEjectionTime: 60s, maxEjectionPercent: 100}"
)
HERE = "eu/one/a"


async def eject(mesh: Caller, name: str) -> None:
    """Let a backend fail until it is left out."""
    mesh.backends[name].failures = 1000
    before = -1
    while len(mesh.backends[name].seen) != before:
        before = len(mesh.backends[name].seen)
        await mesh.answers(5)


@pytest.mark.proves(
    "networking.LoadBalancerSettings.localityLbSetting", "networking.WorkloadEntrySpec.locality"
)
async def test_with_outlier_detection_the_nearest_come_first() -> None:
    backends = {"far": FAR, "region": SAME_REGION, "zone": SAME_ZONE, "near": NEAR}
    async with called(backends, rule(f"{{{OUTLIERS}}}"), locality=HERE) as mesh:
        for name in ("near", "zone", "region", "far"):
            assert set(await mesh.answers()) == {name}
            await eject(mesh, name)


async def test_without_outlier_detection_all_are_equal() -> None:
    async with called({"far": FAR, "near": NEAR}, rule("{}"), locality=HERE) as mesh:
        assert set(await mesh.answers(60)) == {"far", "near"}


@pytest.mark.proves("networking.LocalityLoadBalancerSetting.enabled")
async def test_locality_does_not_count_where_it_is_turned_off() -> None:
    policy = f"{{{OUTLIERS}, loadBalancer: {{localityLbSetting: {{enabled: false}}}}}}"
    async with called({"far": FAR, "near": NEAR}, rule(policy), locality=HERE) as mesh:
        assert set(await mesh.answers(60)) == {"far", "near"}


@pytest.mark.proves(
    "networking.LocalityLoadBalancerSetting.distribute",
    "networking.Distribute.from",
    "networking.Distribute.to",
)
async def test_requests_are_shared_out_as_the_rule_says() -> None:
    setting = (
        '{distribute: [{from: "us/*", to: {"us/*": 100}}, {from: "eu/one/*", to: {"eu/*": 80, us/one: 20}}]}'
    )
    backends = {"near": NEAR, "far": FAR, "elsewhere": ELSEWHERE}
    policy = f"{{loadBalancer: {{localityLbSetting: {setting}}}}}"
    async with called(backends, rule(policy), locality=HERE) as mesh:
        answers = await mesh.answers(300)
    assert set(answers) == {"near", "far"}
    assert 195 <= answers["near"] <= 285


@pytest.mark.proves(
    "networking.LocalityLoadBalancerSetting.failover", "networking.Failover.from", "networking.Failover.to"
)
async def test_a_region_fails_over_to_the_one_that_the_rule_names() -> None:
    setting = "{failover: [{from: eu, to: us}]}"
    policy = f"{{{OUTLIERS}, loadBalancer: {{localityLbSetting: {setting}}}}}"
    async with called({"a": ELSEWHERE, "u": FAR, "e": NEAR}, rule(policy), locality=HERE) as mesh:
        for name in ("e", "u", "a"):
            assert set(await mesh.answers()) == {name}
            await eject(mesh, name)


@pytest.mark.proves("networking.LocalityLoadBalancerSetting.failoverPriority")
async def test_endpoints_with_more_of_the_wanted_labels_come_first() -> None:
    setting = "{failoverPriority: [topology.kubernetes.io/region, rack, tier=gold]}"
    policy = f"{{{OUTLIERS}, loadBalancer: {{localityLbSetting: {setting}}}}}"
    backends = {
        "all": {"locality": "eu/two", "labels": {"rack": "7", "tier": "gold"}},
        "rack": {"locality": "eu/one", "labels": {"rack": "7"}},
        "region": {"locality": "eu/one", "labels": {"tier": "gold"}},
        "none": {"locality": "us/one", "labels": {"rack": "7", "tier": "gold"}},
    }
    async with called(backends, rule(policy), locality=HERE, labels={"rack": "7"}) as mesh:
        for name in ("all", "rack", "region", "none"):
            assert set(await mesh.answers()) == {name}
            await eject(mesh, name)


@pytest.mark.proves("core.ServiceSpec.trafficDistribution")
@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        ("PreferClose", {"near", "node"}),
        ("PreferSameZone", {"near", "node", "zone"}),
        ("PreferSameNode", {"node"}),
    ],
)
async def test_a_service_prefers_the_near_without_any_rule(distribution: str, expected: set[str]) -> None:
    host = {"kubernetes.io/hostname": "n1"}
    backends = {
        "node": {**NEAR, "labels": host},
        "near": {**NEAR, "labels": {"kubernetes.io/hostname": "n2"}},
        "zone": SAME_ZONE,
        "region": SAME_REGION,
    }
    service = f"{{trafficDistribution: {distribution}}}"
    async with called(backends, service=service, locality=HERE, labels=host) as mesh:
        assert set(await mesh.answers(60)) == expected


@pytest.mark.proves("core.ServiceSpec.internalTrafficPolicy")
async def test_a_local_service_is_called_on_the_own_node_or_not_at_all() -> None:
    service = "{internalTrafficPolicy: Local}"
    backends = {"here": {"labels": {"kubernetes.io/hostname": "n1"}}, "there": {}}
    async with called(backends, service=service, labels={"kubernetes.io/hostname": "n1"}) as mesh:
        assert set(await mesh.answers(20)) == {"here"}
    async with called(backends, service=service, labels={"kubernetes.io/hostname": "n3"}) as mesh:
        assert await mesh.get() == (503, "")
