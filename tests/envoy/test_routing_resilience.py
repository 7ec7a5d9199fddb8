"""A real Envoy shifts, mirrors, retries, times out and injects faults as rules say."""

import asyncio
import time

import pytest
from routing_envoy import backend, routed, virtual_service

SAMPLE = 1000
"""Requests of a statistical test."""


@pytest.mark.proves(
    "networking.HTTPRoute.route",
    "networking.HTTPRouteDestination.destination",
    "networking.HTTPRouteDestination.weight",
    "networking.Destination.host",
    "networking.Destination.subset",
)
async def test_weights_share_traffic_within_statistical_bounds() -> None:
    rules = """
- route:
  - {destination: {host: app, subset: v1}, weight: 9}
  - {destination: {host: app, subset: v2}, weight: 1}
  - {destination: {host: app, subset: v3}, weight: 0}
"""
    async with backend("v1") as v1, backend("v2") as v2:
        clusters = {"app/v1": [v1.port], "app/v2": [v2.port], "app/v3": []}
        async with routed(virtual_service(rules), clusters) as client:
            replies = [await client.send("/") for _ in range(SAMPLE)]
    second = sum(reply.backend == "v2" for reply in replies)
    assert all(reply.status == 200 for reply in replies)
    # 10 % of 1000: a standard deviation of 9.5, bounds of five.
    assert 52 <= second <= 148


@pytest.mark.proves(
    "networking.HTTPRoute.mirror",
    "networking.HTTPRoute.mirrors",
    "networking.HTTPRoute.mirrorPercentage",
    "networking.HTTPMirrorPolicy.destination",
)
async def test_a_mirror_gets_a_copy_of_its_share_and_no_say() -> None:
    rules = """
- match: [{uri: {prefix: /all}}]
  route: [{destination: {host: app}}]
  mirror: {host: shadow}
- match: [{uri: {prefix: /none}}]
  route: [{destination: {host: app}}]
  mirror: {host: shadow}
  mirrorPercentage: {value: 0}
- match: [{uri: {prefix: /both}}]
  route: [{destination: {host: app}}]
  mirrors: [{destination: {host: shadow}}, {destination: {host: second}}]
"""
    async with backend("app") as app, backend("shadow") as shadow, backend("second") as second:
        shadow.failures = 1
        clusters = {"app": [app.port], "shadow": [shadow.port], "second": [second.port]}
        async with routed(virtual_service(rules), clusters) as client:
            assert (await client.send("/none")).backend == "app"
            assert not shadow.seen
            assert (await client.send("/all")).backend == "app"
            await asyncio.wait_for(shadow.arrived.wait(), 5)
            assert shadow.seen[0].headers["Host"] == "reviews-shadow:9080"
            shadow.arrived.clear()
            await client.send("/both")
            await asyncio.wait_for(shadow.arrived.wait(), 5)
            await asyncio.wait_for(second.arrived.wait(), 5)


@pytest.mark.proves(
    "networking.HTTPRoute.retries",
    "networking.HTTPRetry.attempts",
    "networking.HTTPRetry.retryOn",
)
async def test_retries_by_default_as_told_or_not_at_all() -> None:
    rules = """
- match: [{uri: {prefix: /off}}]
  retries: {attempts: 0}
  route: [{destination: {host: app}}]
- match: [{uri: {prefix: /many}}]
  retries: {attempts: 4, retryOn: "503", perTryTimeout: 2s, backoff: 1ms}
  route: [{destination: {host: app}}]
- match: [{uri: {prefix: /other}}]
  retries: {attempts: 4, retryOn: "504,connect-failure"}
  route: [{destination: {host: app}}]
- route: [{destination: {host: app}}]
"""
    async with backend("app") as app, routed(virtual_service(rules), {"app": [app.port]}) as client:
        outcomes = []
        for path, failures in (("/", 1), ("/off", 1), ("/many", 4), ("/other", 1)):
            app.failures = failures
            outcomes.append((path, failures, (await client.send(path)).status))
            app.failures = 0
    assert outcomes == [("/", 1, 503), ("/off", 1, 503), ("/many", 4, 200), ("/other", 1, 503)]


@pytest.mark.proves(
    "networking.HTTPRoute.timeout",
)
async def test_a_timeout_ends_a_slow_request_with_504() -> None:
    rules = """
- match: [{uri: {prefix: /limited}}]
  timeout: 0.2s
  route: [{destination: {host: app}}]
- route: [{destination: {host: app}}]
"""
    async with backend("app") as app, routed(virtual_service(rules), {"app": [app.port]}) as client:
        app.delay = 0.6
        limited, unlimited = await client.send("/limited"), await client.send("/")
    assert (limited.status, unlimited.status) == (504, 200)


@pytest.mark.proves(
    "networking.HTTPRoute.fault",
    "networking.HTTPFaultInjection.delay",
    "networking.HTTPFaultInjection.abort",
    "networking.Delay.fixedDelay",
    "networking.Delay.percentage",
    "networking.Abort.httpStatus",
    "networking.Abort.grpcStatus",
    "networking.Abort.percentage",
    "networking.Percent.value",
)
async def test_faults_befall_their_share_of_requests() -> None:
    rules = """
- match: [{uri: {prefix: /half}}]
  fault: {abort: {httpStatus: 555, percentage: {value: 50}}}
  route: [{destination: {host: app}}]
- match: [{uri: {prefix: /slow}}]
  fault: {delay: {fixedDelay: 0.4s, percentage: {value: 100}}}
  route: [{destination: {host: app}}]
- match: [{uri: {prefix: /grpc}}]
  fault: {abort: {grpcStatus: UNAVAILABLE, percentage: {value: 100}}}
  route: [{destination: {host: app}}]
- fault: {abort: {httpStatus: 500}}
  route: [{destination: {host: app}}]
"""
    async with backend("app") as app, routed(virtual_service(rules), {"app": [app.port]}) as client:
        statuses = [(await client.send("/half")).status for _ in range(400)]
        begun = time.monotonic()
        slow = await client.send("/slow")
        waited = time.monotonic() - begun
        grpc = await client.send("/grpc", content_type="application/grpc")
        spared = await client.send("/no-percentage")
    # Half of 400: a standard deviation of 10, bounds of five.
    assert 150 <= statuses.count(555) <= 250
    assert statuses.count(200) + statuses.count(555) == 400
    assert slow.status == 200
    assert waited >= 0.35
    assert grpc.headers["grpc-status"] == "14"
    assert spared.status == 200


@pytest.mark.proves(
    "networking.HTTPRoute.corsPolicy",
    "networking.CorsPolicy.allowOrigins",
    "networking.CorsPolicy.allowMethods",
    "networking.CorsPolicy.allowHeaders",
    "networking.CorsPolicy.exposeHeaders",
    "networking.CorsPolicy.maxAge",
    "networking.CorsPolicy.allowCredentials",
    "networking.CorsPolicy.unmatchedPreflights",
)
async def test_cors_answers_preflights_of_known_origins_only() -> None:
    rules = """
- corsPolicy:
    allowOrigins: [{exact: "https://good.example"}, {regex: "https://.*[.]fine[.]example"}]
    allowMethods: [GET, PUT]
    allowHeaders: [x-one]
    exposeHeaders: [x-two]
    maxAge: 24h
    allowCredentials: true
    unmatchedPreflights: IGNORE
  route: [{destination: {host: app}}]
"""
    async with backend("app") as app, routed(virtual_service(rules), {"app": [app.port]}) as client:
        ask = {"access_control_request_method": "PUT"}
        known = await client.send("/", "OPTIONS", origin="https://good.example", **ask)
        matched = await client.send("/", "OPTIONS", origin="https://a.fine.example", **ask)
        unknown = await client.send("/", "OPTIONS", origin="https://bad.example", **ask)
        simple = await client.send("/", "GET", origin="https://good.example")
    assert known.headers["access-control-allow-origin"] == "https://good.example"
    assert known.headers["access-control-allow-methods"] == "GET,PUT"
    assert known.headers["access-control-allow-headers"] == "x-one"
    assert known.headers["access-control-max-age"] == "86400"
    assert known.headers["access-control-allow-credentials"] == "true"
    assert matched.headers["access-control-allow-origin"] == "https://a.fine.example"
    assert unknown.headers.get("access-control-allow-origin") != "https://bad.example"
    assert simple.headers["access-control-expose-headers"] == "x-two"
    assert simple.backend == "app"
