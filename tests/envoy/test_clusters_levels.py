"""Which level of a DestinationRule counts: the rule's, a subset's, or that of one port."""

import pytest
from called_service import called, rule

ROUTED = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews]
  http:
  - match: [{headers: {version: {exact: v1}}}]
    route: [{destination: {host: reviews, subset: v1}}]
  - match: [{headers: {version: {exact: v2}}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - route: [{destination: {host: reviews}}]
"""
ONE_TRY = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews}}], retries: {attempts: 0}}]}
"""
BY_SOURCE = "loadBalancer: {consistentHash: {useSourceIp: true}}"
VERSIONS: dict[str, dict[str, object]] = {
    name: {"labels": {"version": name[:2]}} for name in ("v1-a", "v1-b", "v1-c", "v2-a", "v2-b", "v2-c")
}


@pytest.mark.proves(
    "networking.DestinationRuleSpec.subsets",
    "networking.DestinationRuleSpec.trafficPolicy",
    "networking.Subset.name",
    "networking.Subset.labels",
    "networking.Subset.trafficPolicy",
    "networking.TrafficPolicy.loadBalancer",
)
async def test_a_subset_is_those_with_its_labels_under_its_own_policy() -> None:
    subsets = f""", subsets: [
      {{name: v1, labels: {{version: v1}}}},
      {{name: v2, labels: {{version: v2}}, trafficPolicy: {{{BY_SOURCE}}}}}]"""
    async with called(VERSIONS, rule("{loadBalancer: {simple: ROUND_ROBIN}}", subsets), ROUTED) as mesh:
        first = {(await mesh.get(version="v1"))[1] for _ in range(12)}
        second = {(await mesh.get(version="v2"))[1] for _ in range(12)}
    assert first == {"v1-a", "v1-b", "v1-c"}
    assert len(second) == 1 and second < {"v2-a", "v2-b", "v2-c"}


def of_port(number: int, settings: str, general: str = "") -> str:
    return rule(f"{{{general}portLevelSettings: [{{port: {{number: {number}}}, {settings}}}]}}")


@pytest.mark.proves(
    "networking.TrafficPolicy.portLevelSettings",
    "networking.PortTrafficPolicy.port",
    "networking.PortSelector.number",
    "networking.PortTrafficPolicy.loadBalancer",
)
@pytest.mark.parametrize(("port", "answering"), [(9080, 1), (9081, 6)])
async def test_settings_for_a_port_are_for_that_port(port: int, answering: int) -> None:
    async with called(VERSIONS, of_port(port, BY_SOURCE)) as mesh:
        assert len(await mesh.answers(60)) == answering


@pytest.mark.proves(
    "networking.PortTrafficPolicy.connectionPool",
    "networking.TrafficPolicy.connectionPool",
    "networking.ConnectionPoolSettings.http",
)
@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ("loadBalancer: {simple: RANDOM}", 0),
        ("connectionPool: {http: {http2MaxRequests: 2}}", 4),
    ],
)
async def test_settings_for_a_port_take_nothing_from_those_for_all(settings: str, refused: int) -> None:
    general = "connectionPool: {http: {http2MaxRequests: 1}}, "
    async with called({"a": {}}, of_port(9080, settings, general), ONE_TRY) as mesh:
        mesh.backends["a"].delay = 0.3
        assert (await mesh.together(6))[503] == refused


@pytest.mark.proves("networking.PortTrafficPolicy.outlierDetection")
async def test_a_port_may_have_outlier_detection_of_its_own() -> None:
    settings = "outlierDetection: {consecutive5xxErrors: 1, interval: 60s, maxEjectionPercent: 100}"
    async with called({"a": {}}, of_port(9080, settings), ONE_TRY) as mesh:
        mesh.backends["a"].failures = 10
        assert [(await mesh.get())[0] for _ in range(3)] == [503] * 3
        assert len(mesh.backends["a"].seen) == 1


@pytest.mark.proves("networking.PortTrafficPolicy.tls")
async def test_a_port_may_be_called_with_tls_while_others_are_not() -> None:
    tls = "tls: {mode: SIMPLE, insecureSkipVerify: true}"
    for port, status in ((9080, 503), (9081, 200)):
        async with called({"a": {}}, of_port(port, tls)) as mesh:
            assert (await mesh.get())[0] == status
