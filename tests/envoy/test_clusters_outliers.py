"""Endpoints that fail are left out: after which failures, how long, and how many at most."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from called_service import Caller, called, rule
from static_mesh import free_port

OUT = "outlier_detection.ejections_active"


@asynccontextmanager
async def watched(
    settings: str, backends: dict[str, dict[str, object]] | None = None
) -> AsyncIterator[Caller]:
    policy = rule(f"{{outlierDetection: {{interval: 60s, maxEjectionPercent: 100, {settings}}}}}")
    async with called(backends or {"only": {}}, policy, ONE_TRY) as mesh:
        yield mesh


ONE_TRY = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews]
  http: [{route: [{destination: {host: reviews}}], retries: {attempts: 0}}]
"""


async def fail(mesh: Caller, count: int) -> None:
    for made in mesh.backends.values():
        made.failures = 1000
    for _ in range(count):
        assert (await mesh.get())[0] == 503


@pytest.mark.proves("networking.OutlierDetection.consecutive5xxErrors")
async def test_so_many_errors_of_the_application_are_too_many() -> None:
    async with watched("consecutive5xxErrors: 3, consecutiveGatewayErrors: 0") as mesh:
        await fail(mesh, 2)
        assert await mesh.stat(OUT) == 0
        await fail(mesh, 1)
        assert await mesh.stat(OUT) == 1
        assert await mesh.stat("outlier_detection.ejections_enforced_consecutive_5xx") == 1


@pytest.mark.proves("networking.OutlierDetection.consecutiveGatewayErrors")
async def test_gateway_errors_are_counted_on_their_own() -> None:
    async with watched("consecutive5xxErrors: 0, consecutiveGatewayErrors: 2") as mesh:
        await fail(mesh, 2)
        assert await mesh.stat("outlier_detection.ejections_enforced_consecutive_gateway_failure") == 1
        assert await mesh.stat("outlier_detection.ejections_enforced_consecutive_5xx") == 0


@pytest.mark.proves(
    "networking.OutlierDetection.splitExternalLocalOriginErrors",
    "networking.OutlierDetection.consecutiveLocalOriginFailures",
)
async def test_failures_to_connect_are_told_from_answers_where_a_rule_wants_that() -> None:
    away = {"away": {"ports": {"http": free_port()}}}
    settings = (
        "splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 2, consecutive5xxErrors: 1"
    )
    async with watched(settings, away) as mesh:
        assert (await mesh.get())[0] == 503
        assert await mesh.stat(OUT) == 0
        assert (await mesh.get())[0] == 503
        assert await mesh.stat("outlier_detection.ejections_enforced_consecutive_local_origin_failure") == 1


@pytest.mark.proves("networking.OutlierDetection.baseEjectionTime", "networking.OutlierDetection.interval")
async def test_whoever_was_left_out_comes_back() -> None:
    settings = "consecutive5xxErrors: 1, baseEjectionTime: 0.2s, interval: 0.1s"
    policy = rule(f"{{outlierDetection: {{{settings}, maxEjectionPercent: 100}}}}")
    async with called({"only": {}}, policy, ONE_TRY) as mesh:
        await fail(mesh, 1)
        assert await mesh.stat("outlier_detection.ejections_enforced_total") == 1
        mesh.backends["only"].failures = 0
        await mesh.wait_for_stat(OUT, 0)
        async with asyncio.timeout(20):
            while await mesh.get() != (200, "only"):
                pass


@pytest.mark.proves("networking.OutlierDetection.maxEjectionPercent")
async def test_no_more_than_a_share_is_left_out() -> None:
    policy = rule("{outlierDetection: {consecutive5xxErrors: 1, interval: 60s, maxEjectionPercent: 50}}")
    async with called({name: {} for name in "abcd"}, policy, ONE_TRY) as mesh:
        await fail(mesh, 40)
        assert await mesh.stat(OUT) == 2


@pytest.mark.proves("networking.OutlierDetection.minHealthPercent")
@pytest.mark.parametrize(("least", "status"), [(0, 503), (60, 200)])
async def test_below_a_share_of_good_endpoints_all_are_asked_again(least: int, status: int) -> None:
    async with watched(f"consecutive5xxErrors: 1, minHealthPercent: {least}") as mesh:
        await fail(mesh, 1)
        assert await mesh.stat(OUT) == 1
        mesh.backends["only"].failures = 0
        before = len(mesh.backends["only"].seen)
        assert (await mesh.get())[0] == status
        assert len(mesh.backends["only"].seen) - before == (status == 200)


@pytest.mark.proves("networking.TrafficPolicy.outlierDetection")
async def test_without_outlier_detection_nobody_is_left_out() -> None:
    async with called({"only": {}}, ONE_TRY) as mesh:
        await fail(mesh, 20)
        assert await mesh.stat(OUT) == 0
        assert len(mesh.backends["only"].seen) == 20
