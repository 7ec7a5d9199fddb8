"""A real Envoy filters requests as HTTPRoutes say, for all backends of a rule or for one of them."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from routing_envoy import Backend, backend, http_route, http_route_host, routed_hosts

CORS = """
- matches: [{path: {value: /some}}]
  filters:
  - type: CORS
    cors:
      allowOrigins: ["https://www.foo.com", "https://*.bar.com", "http://any.org:8080"]
      allowMethods: [GET, PUT]
      allowHeaders: [x-one, x-two]
      exposeHeaders: [x-three]
      allowCredentials: true
      maxAge: 3600
  backendRefs: [{name: app, port: 80}]
- matches: [{path: {value: /any}}]
  filters: [{type: CORS, cors: {allowOrigins: ["*"], allowMethods: ["*"], allowHeaders: ["*"]}}]
  backendRefs: [{name: app, port: 80}]
"""


def answered(headers: Any) -> dict[str, str]:
    return {
        name.removeprefix("access-control-"): value for name, value in headers.items() if "access-" in name
    }


@pytest.mark.proves(
    "gateway_api.HTTPRouteFilter.cors",
    "gateway_api.HTTPCORSFilter.allowOrigins",
    "gateway_api.HTTPCORSFilter.allowCredentials",
    "gateway_api.HTTPCORSFilter.allowMethods",
    "gateway_api.HTTPCORSFilter.allowHeaders",
    "gateway_api.HTTPCORSFilter.exposeHeaders",
    "gateway_api.HTTPCORSFilter.maxAge",
)
async def test_preflights_of_allowed_origins_are_answered() -> None:
    async with (
        backend("app") as app,
        routed_hosts([http_route_host(http_route(CORS))], {"app": [app.port]}) as client,
    ):

        async def preflight(path: str, origin: str) -> dict[str, str]:
            asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-one, x-9"}
            reply = await client.send(path, "OPTIONS", Origin=origin, **asked)
            assert reply.status == 200
            return answered(reply.headers)

        assert await preflight("/some", "https://www.foo.com") == {
            "allow-origin": "https://www.foo.com",
            "allow-methods": "GET,PUT",
            "allow-headers": "x-one,x-two",
            "expose-headers": "x-three",
            "max-age": "3600",
            "allow-credentials": "true",
        }
        for origin in ("https://a.b.bar.com", "https://www.foo.com:443", "http://any.org:8080"):
            assert (await preflight("/some", origin))["allow-origin"] == origin
        for origin in (
            "https://bar.com",
            "http://www.foo.com",
            "https://www.foo.com.evil.org",
            "http://any.org",
        ):
            assert "allow-origin" not in await preflight("/some", origin)
        found = await preflight("/any", "https://else.where:1")
        assert (found["allow-origin"], found["allow-methods"]) == ("https://else.where:1", "PUT")
        assert (found["allow-headers"], found["max-age"]) == ("x-one, x-9", "5")
        assert not app.seen
        reply = await client.send("/some", Origin="https://www.foo.com")
        assert (reply.backend, reply.headers["access-control-allow-origin"]) == ("app", "https://www.foo.com")


RETRY = """
- matches: [{path: {value: /retried}}]
  retry: {codes: [500], attempts: 3, backoff: 1ms}
  backendRefs: [{name: app, port: 80}]
- matches: [{path: {value: /slow}}]
  retry: {attempts: 1}
  timeouts: {backendRequest: 300ms}
  backendRefs: [{name: app, port: 80}]
"""


@pytest.mark.proves(
    "gateway_api.HTTPRouteRule.retry",
    "gateway_api.HTTPRouteRetry.codes",
    "gateway_api.HTTPRouteRetry.attempts",
    "gateway_api.HTTPRouteRetry.backoff",
    "gateway_api.HTTPRouteTimeouts.backendRequest",
)
async def test_requests_are_tried_again_for_the_codes_that_a_rule_names() -> None:
    async with (
        backend("app") as app,
        routed_hosts([http_route_host(http_route(RETRY))], {"app": [app.port]}) as client,
    ):

        async def fails(status: int, times: int) -> tuple[int, int]:
            app.failures, app.failure, before = times, status, len(app.seen)
            reply = await client.send("/retried")
            app.failures = 0
            return reply.status, len(app.seen) - before

        assert await fails(500, 3) == (200, 4)
        assert await fails(500, 4) == (500, 4)
        assert await fails(503, 1) == (503, 1)
        app.delays = [1.0]
        before = len(app.seen)
        assert (await client.send("/slow")).status == 200
        assert len(app.seen) - before == 2


SPLIT = """
- matches: [{path: {value: /a}}]
  filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-rule, value: all}]}}]
  backendRefs:
  - name: one
    port: 80
    weight: 1
    filters:
    - type: URLRewrite
      urlRewrite: {hostname: one.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}
    - {type: RequestMirror, requestMirror: {backendRef: {name: shadow, port: 80}}}
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-to, value: one}]}}
  - name: two
    port: 80
    weight: 1
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-to, value: two}]}}]
  - {name: missing, port: 80, weight: 1}
  - name: nowhere
    port: 80
    weight: 1
    filters: [{type: RequestRedirect, requestRedirect: {hostname: else.example, statusCode: 307}}]
"""


@pytest.mark.proves(
    "gateway_api.HTTPBackendRef.filters", "gateway_api.HTTPBackendRef.weight",
    "gateway_api.HTTPRequestRedirectFilter.statusCode",
)  # fmt: skip
async def test_filters_of_one_backend_are_for_its_share_of_the_requests() -> None:
    async with AsyncExitStack() as stack:
        apps: dict[str, Backend] = {
            name: await stack.enter_async_context(backend(name)) for name in ("one", "two", "shadow")
        }
        ports = {name: [app.port] for name, app in apps.items()}
        host = http_route_host(http_route(SPLIT))
        client = await stack.enter_async_context(routed_hosts([host], ports))
        replies = [await client.send("/a/x") for _ in range(400)]
        await asyncio.wait_for(apps["shadow"].arrived.wait(), 5)
    ones = [reply.body for reply in replies if reply.backend == "one"]
    twos = [reply.body for reply in replies if reply.backend == "two"]
    redirects = [reply.headers["location"] for reply in replies if reply.status == 307]
    # A quarter of 400 each: a standard deviation below 9, bounds of five.
    for share in (ones, twos, redirects, [reply for reply in replies if reply.status == 500]):
        assert 55 <= len(share) <= 145
    assert {(body["path"], body["headers"]["x-to"], body["headers"]["host"]) for body in ones} == {
        ("/b/x", "one", "one.example")
    }
    assert {(body["path"], body["headers"]["x-to"]) for body in twos} == {("/a/x", "two")}
    assert set(redirects) == {"http://else.example:8080/a/x"}
    assert all(reply.headers["x-rule"] == "all" for reply in replies if reply.backend)


@pytest.mark.proves(
    "gateway_api.HTTPRouteFilter.requestMirror",
    "gateway_api.HTTPRequestMirrorFilter.percent",
    "gateway_api.HTTPRequestMirrorFilter.fraction",
    "gateway_api.HTTPRequestMirrorFilter.backendRef",
    "gateway_api.Fraction.numerator",
    "gateway_api.Fraction.denominator",
)
async def test_requests_are_mirrored_to_several_backends_each_by_its_share() -> None:
    rules = """
- filters:
  - {type: RequestMirror, requestMirror: {backendRef: {name: all, port: 80}}}
  - {type: RequestMirror, requestMirror: {backendRef: {name: some, port: 80}, percent: 25}}
  - type: RequestMirror
    requestMirror: {backendRef: {name: few, port: 80}, fraction: {numerator: 1, denominator: 2}}
  - {type: RequestMirror, requestMirror: {backendRef: {name: none, port: 80}, percent: 0}}
  backendRefs: [{name: app, port: 80}]
"""
    async with AsyncExitStack() as stack:
        names = ("app", "all", "some", "few", "none")
        apps = {name: await stack.enter_async_context(backend(name)) for name in names}
        ports = {name: [app.port] for name, app in apps.items()}
        client = await stack.enter_async_context(routed_hosts([http_route_host(http_route(rules))], ports))
        for _ in range(200):
            await client.send("/")
        async with asyncio.timeout(10):
            while len(apps["all"].seen) < 200:
                apps["all"].arrived.clear()
                await apps["all"].arrived.wait()
        counts = {name: len(app.seen) for name, app in apps.items()}
    assert (counts["app"], counts["all"], counts["none"]) == (200, 200, 0)
    assert 15 <= counts["some"] <= 85
    assert 60 <= counts["few"] <= 140


@pytest.mark.proves("gateway_api.HTTPRouteFilter.extensionRef")
@pytest.mark.parametrize(
    "rule",
    [
        "matches: [{method: CONNECT}]",
        "matches: [{path: {type: RegularExpression, value: '/(?=a)'}}]",
        "filters: [{type: ExtensionRef, extensionRef: {group: a.b, kind: C, name: d}}]",
        "filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [Host]}}]",
        "sessionPersistence: {absoluteTimeout: 1h}",
    ],
)
async def test_requests_of_a_rule_that_cannot_be_applied_get_an_error(rule: str) -> None:
    rules = f"- {rule.strip()}\n  backendRefs: [{{name: app, port: 80}}]\n"
    plain = "- matches: [{path: {value: /fine}}]\n  backendRefs: [{name: app, port: 80}]\n"
    async with (
        backend("app") as app,
        routed_hosts([http_route_host(http_route(rules + plain))], {"app": [app.port]}) as client,
    ):
        assert (await client.send("/fine")).backend == "app"
        assert (await client.send("/")).status in (404, 500)
        assert len(app.seen) == 1
