"""Services that are kept from collapsing: limits that follow latency, chance, hedges, budgets of retries."""

import asyncio
import time

import pytest
from policy_mesh import Caller, gateway, policy, protected_service

PATIENCE = 20
RETRIED = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews]
  http: [{retries: {attempts: 2, retryOn: "503"}, route: [{destination: {host: reviews}}]}]
"""
"""By default a 503 is not asked for again."""


def resilient(settings: str, target: str = "{kind: Service, name: reviews}") -> str:
    return policy("ResiliencePolicy", f"{{targetRefs: [{target}], {settings}}}")


async def becomes(caller: Caller, name: str, value: int) -> None:
    """Wait until a gauge of the server's proxy has a value."""
    async with asyncio.timeout(PATIENCE):
        while (await caller.stats("server", "gradient_controller")).get(name) != value:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.proves(
    "policy.ResiliencePolicySpec.targetRefs",
    "policy.ResiliencePolicySpec.adaptiveConcurrency",
    "policy.AdaptiveConcurrency.minConcurrency",
    "policy.AdaptiveConcurrency.statusCode",
    "policy.AdaptiveConcurrency.minimumLatency",
    "policy.MinimumLatency.requests",
)
async def test_only_a_few_requests_at_a_time_pass_while_the_minimum_latency_is_measured() -> None:
    settings = "adaptiveConcurrency: {minConcurrency: 2, statusCode: 504, minimumLatency: {requests: 3}}"
    async with protected_service(resilient(settings)) as caller:
        caller.app.delay = 0.5
        assert await caller.at_once(6) == {200: 2, 504: 4}
        caller.app.delay = 0
        measuring = "gradient_controller.min_rtt_calculation_active"
        assert (await caller.stats("server", measuring))[measuring] == 1
        await caller.send()
        await becomes(caller, measuring, 0)


@pytest.mark.proves("policy.MinimumLatency.interval")
async def test_the_minimum_latency_is_measured_again_and_again() -> None:
    settings = "adaptiveConcurrency: {minimumLatency: {requests: 1, interval: 200ms}}"
    async with protected_service(resilient(settings)) as caller:
        for _ in range(2):
            await becomes(caller, "gradient_controller.min_rtt_calculation_active", 1)
            await caller.send()
            await becomes(caller, "gradient_controller.min_rtt_calculation_active", 0)


@pytest.mark.proves(
    "policy.AdaptiveConcurrency.maxConcurrency",
    "policy.AdaptiveConcurrency.sampleInterval",
    "policy.AdaptiveConcurrency.percentile",
    "policy.MinimumLatency.fixed",
)
async def test_the_limit_rises_while_the_service_is_fast_and_falls_when_it_becomes_slow() -> None:
    settings = (
        "adaptiveConcurrency: {minConcurrency: 2, maxConcurrency: 9, sampleInterval: 50ms, percentile: %d, "
        "minimumLatency: {fixed: 200ms}}"
    )
    limit = "gradient_controller.concurrency_limit"
    async with protected_service(resilient(settings % 90)) as caller:
        assert (await caller.stats("server", "min_rtt_msecs"))["gradient_controller.min_rtt_msecs"] == 200
        await _until(caller, limit, lambda now: now == 9)
        caller.app.delay = 0.6
        await _until(caller, limit, lambda now: now < 9)


async def _until(caller: Caller, name: str, holds: object) -> None:
    """Send requests until a gauge fulfils a condition."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = (await caller.stats("server", "gradient_controller"))[name]
            if holds(found):  # type: ignore[operator]
                return
            await caller.at_once(4)


async def turned_away(caller: Caller, requests: int = 60) -> float:
    """The share of so many requests that the server's proxy turned away."""
    rejected = "admission_control.rq_rejected"
    before = (await caller.stats("server", rejected)).get(rejected, 0), len(caller.app.seen)
    await caller.statuses(requests)
    refused = (await caller.stats("server", rejected)).get(rejected, 0) - before[0]
    return refused / (refused + len(caller.app.seen) - before[1])


async def half_failed(caller: Caller) -> None:
    """As many requests have failed as succeeded."""
    await caller.statuses(20)
    caller.app.failures = 20
    while caller.app.failures:
        await caller.send(method="POST")


@pytest.mark.proves(
    "policy.ResiliencePolicySpec.admissionControl",
    "policy.AdmissionControl.successThreshold",
    "policy.AdmissionControl.aggression",
    "policy.AdmissionControl.maxRejectionPercent",
    "policy.AdmissionControl.minimumRequestsPerSecond",
)
async def test_requests_are_turned_away_when_too_few_succeed() -> None:
    shares = {}
    for settings in (
        "maxRejectionPercent: 100, aggression: 1",
        "maxRejectionPercent: 100, aggression: 10",
        "maxRejectionPercent: 20, aggression: 10",
        "aggression: 10, successThreshold: 10",
        "aggression: 10, minimumRequestsPerSecond: 1000",
    ):
        async with protected_service(resilient(f"admissionControl: {{{settings}}}")) as caller:
            await half_failed(caller)
            shares[settings] = await turned_away(caller)
    normal, aggressive, capped, tolerant, idle = shares.values()
    assert 0 < normal < aggressive, shares
    assert 0.05 < capped < 0.4, shares
    assert tolerant == idle == 0, shares


@pytest.mark.proves("policy.AdmissionControl.samplingWindow")
async def test_failures_are_forgotten_after_the_sampling_window() -> None:
    settings = "admissionControl: {samplingWindow: 2s, aggression: 10, maxRejectionPercent: 50}"
    async with protected_service(resilient(settings)) as caller:
        await half_failed(caller)
        assert await turned_away(caller, 20) > 0
        async with asyncio.timeout(PATIENCE):
            while await turned_away(caller, 20) > 0:
                pass


@pytest.mark.proves(
    "policy.AdmissionControl.success",
    "policy.SuccessCriteria.httpStatuses",
    "policy.StatusRange.first",
    "policy.StatusRange.last",
)
async def test_what_is_a_success_can_be_said() -> None:
    strict = "admissionControl: {aggression: 10, maxRejectionPercent: 100, success: {httpStatuses: [%s]}}"
    for ranges, rejects in (("{first: 500, last: 599}", True), ("{first: 100, last: 200}", False)):
        async with protected_service(resilient(strict % ranges)) as caller:
            await caller.statuses(30)
            refused = (await caller.stats("server", "rq_rejected"))["admission_control.rq_rejected"]
            assert (refused > 0) == rejects, ranges


@pytest.mark.proves("policy.SuccessCriteria.grpcStatuses")
async def test_what_is_a_success_of_grpc_can_be_said() -> None:
    strict = "admissionControl: {aggression: 10, maxRejectionPercent: 100, success: {grpcStatuses: [%s]}}"
    for statuses, rejects in (("OK", True), ("OK, NOT_FOUND", False)):
        async with protected_service(resilient(strict % statuses)) as caller:
            caller.app.grpc_status = "5"
            await caller.statuses(30, "/", "POST", content_type="application/grpc")
            refused = (await caller.stats("server", "rq_rejected"))["admission_control.rq_rejected"]
            assert (refused > 0) == rejects, statuses


@pytest.mark.proves("policy.ResiliencePolicySpec.hedging", "policy.Hedging.after", "policy.Hedging.methods")
async def test_a_request_that_is_slow_is_sent_once_more_unless_its_method_forbids_it() -> None:
    async with protected_service(resilient("hedging: {after: 300ms, methods: [GET, PUT]}")) as caller:
        await caller.send()
        for method, copies in (("GET", 2), ("PUT", 2), ("POST", 1)):
            caller.app.seen.clear()
            caller.app.delays = [3.0]
            begun = time.monotonic()
            answer = await caller.send(method=method)
            assert (answer.status, len(caller.app.seen)) == (200, copies), method
            assert (time.monotonic() - begun < 2) == (copies == 2), method


async def test_hedges_are_also_sent_by_gateways_for_routes_of_both_apis() -> None:
    async with gateway(resilient("hedging: {after: 200ms}", "{kind: Service, name: one}")) as (caller, ports):
        for base in (ports.web, ports.classic):
            caller.app.seen.clear()
            caller.app.delays = [3.0]
            assert (await caller.send("/cart", base=base)).status == 200
            assert len(caller.app.seen) == 2


@pytest.mark.proves(
    "policy.ResiliencePolicySpec.retryBudget",
    "policy.RetryBudget.percent",
    "policy.RetryBudget.minConcurrency",
)
async def test_retries_are_limited_to_a_share_of_requests_by_default_and_as_a_policy_says() -> None:
    # Of 30 requests that fail together: with 100 % there may be as many retries as requests are left.
    cases = {
        "hedging: {after: 60s}": (8, 12),
        "retryBudget: {percent: 10, minConcurrency: 4}": (3, 6),
        "retryBudget: {percent: 100}": (13, 20),
    }
    for settings, (least, most) in cases.items():
        async with protected_service(resilient(settings), RETRIED) as caller:
            caller.app.failures, caller.app.delay = 30, 0.5
            statuses = await caller.at_once(30)
            assert least <= statuses[200] <= most, (settings, statuses)
