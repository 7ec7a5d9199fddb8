"""Connection pools for HTTP: how many requests at a time, on which connections, in which version of HTTP."""

import pytest
from called_service import called, rule
from test_core_limits import statuses
from test_core_mtls import get, pair

RULE = "\n---\n"


def http(settings: str, more: str = "") -> str:
    return rule(f"{{connectionPool: {{http: {{{settings}}}}}{more}}}")


def retries(attempts: int) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: reviews, namespace: default}}
spec:
  hosts: [reviews]
  http:
  - route: [{{destination: {{host: reviews}}}}]
    retries: {{attempts: {attempts}, retryOn: 5xx, backoff: 1s}}
"""


@pytest.mark.proves("networking.HTTPSettings.http2MaxRequests")
async def test_no_more_requests_at_a_time_than_the_rule_says() -> None:
    async with called({"a": {}}, http("http2MaxRequests: 2")) as mesh:
        mesh.backends["a"].delay = 0.3
        assert await mesh.together(6) == {200: 2, 503: 4}


@pytest.mark.proves("networking.HTTPSettings.maxRequestsPerConnection")
async def test_a_connection_serves_so_many_requests() -> None:
    async with called({"a": {}}, http("maxRequestsPerConnection: 2")) as mesh:
        await mesh.answers(6)
        assert await mesh.stat("upstream_cx_total") == 3


@pytest.mark.proves("networking.HTTPSettings.idleTimeout")
async def test_an_idle_connection_is_closed() -> None:
    async with called({"a": {}}, http("idleTimeout: 0.2s")) as mesh:
        assert await mesh.get() == (200, "a")
        await mesh.wait_for_stat("upstream_cx_idle_timeout", 1)


@pytest.mark.proves("networking.TCPSettings.idleTimeout")
async def test_an_idle_timeout_for_all_connections_counts_for_http_too() -> None:
    async with called({"a": {}}, rule("{connectionPool: {tcp: {idleTimeout: 0.2s}}}")) as mesh:
        assert await mesh.get() == (200, "a")
        await mesh.wait_for_stat("upstream_cx_idle_timeout", 1)


@pytest.mark.proves("networking.HTTPSettings.maxRetries")
async def test_no_more_retries_at_a_time_than_the_rule_says() -> None:
    async with called({"a": {}}, http("maxRetries: 1"), retries(2)) as mesh:
        mesh.backends["a"].failures = 1000
        assert await mesh.together(5) == {503: 5}
        assert await mesh.stat("upstream_rq_retry_overflow") >= 3


@pytest.mark.proves(
    "networking.TrafficPolicy.retryBudget",
    "networking.RetryBudget.percent",
    "networking.RetryBudget.minRetryConcurrency",
)
@pytest.mark.parametrize(
    ("budget", "retried"),
    [
        ("percent: 0, minRetryConcurrency: 0", False),
        ("percent: 0, minRetryConcurrency: 50", True),
        ("percent: 100, minRetryConcurrency: 0", True),
    ],
)
async def test_retries_stay_within_their_budget(budget: str, retried: bool) -> None:
    async with called({"a": {}}, rule(f"{{retryBudget: {{{budget}}}}}"), retries(1)) as mesh:
        mesh.backends["a"].failures = 1000
        await mesh.together(10)
        assert (await mesh.stat("upstream_rq_retry") > 0) is retried


@pytest.mark.proves("networking.HTTPSettings.h2UpgradePolicy")
@pytest.mark.parametrize(
    ("policy", "upgraded"), [("UPGRADE", True), ("DO_NOT_UPGRADE", False), ("DEFAULT", False)]
)
async def test_http_is_upgraded_between_sidecars_where_a_rule_says_so(policy: str, upgraded: bool) -> None:
    async with pair("http", RULE + http(f"h2UpgradePolicy: {policy}")) as mesh:
        assert (await get(mesh.url))[0] == 200
        stats = await mesh.client.admin("/stats?filter=^cluster.outbound.*upstream_cx_http2_total$")
    assert stats.rstrip().endswith(": 1" if upgraded else ": 0")


@pytest.mark.proves("networking.HTTPSettings.useClientProtocol")
@pytest.mark.parametrize("name", ["http2", "grpc", "http"])
async def test_an_endpoint_is_asked_in_the_clients_version_of_http(name: str) -> None:
    port = f"{{ports: [{{name: {name}, port: 9080}}]}}"
    async with called({"a": {}}, http("useClientProtocol: true"), service=port) as mesh:
        assert await mesh.get() == (200, "a")
        assert await mesh.stat("upstream_cx_http1_total") == 1


@pytest.mark.proves("networking.HTTPSettings.maxConcurrentStreams")
async def test_a_connection_carries_so_many_requests_at_a_time() -> None:
    async with pair("http", RULE + http("h2UpgradePolicy: UPGRADE, maxConcurrentStreams: 2")) as mesh:
        mesh.app.delay = 0.3
        assert await statuses(mesh.url, 6) == [200] * 6
        stats = await mesh.client.admin("/stats?filter=^cluster.outbound.*upstream_cx_http2_total$")
    assert stats.rstrip().endswith(": 3")
