"""A real Envoy keeps clients at the endpoint that their first request reached, where a route wants it."""

from contextlib import AsyncExitStack
from http.cookies import SimpleCookie

import pytest
from routing_envoy import RoutedClient, backend, http_route, http_route_host, routed_hosts

RULES = """
- matches: [{path: {value: /cookie}}]
  sessionPersistence: {sessionName: kept}
  backendRefs: [{name: app, port: 80}]
- matches: [{path: {value: /permanent}}]
  sessionPersistence: {type: Cookie, absoluteTimeout: 1h, cookieConfig: {lifetimeType: Permanent}}
  backendRefs: [{name: app, port: 80}]
- matches: [{path: {value: /header}}]
  sessionPersistence: {type: Header, sessionName: x-kept}
  backendRefs: [{name: app, port: 80}]
- matches: [{path: {value: /several}}]
  sessionPersistence: {sessionName: split}
  backendRefs: [{name: app, port: 80, weight: 3}, {name: other, port: 80, weight: 1}]
- backendRefs: [{name: app, port: 80}]
"""


async def meeting(stack: AsyncExitStack) -> RoutedClient:
    """Envoy before four endpoints of `app` and two of `other`."""
    apps = [await stack.enter_async_context(backend(f"app-{index}")) for index in range(4)]
    others = [await stack.enter_async_context(backend(f"other-{index}")) for index in range(2)]
    ports = {"app": [item.port for item in apps], "other": [item.port for item in others]}
    host = http_route_host(http_route(RULES))
    return await stack.enter_async_context(routed_hosts([host], ports))


async def start(client: RoutedClient, path: str) -> tuple[str, SimpleCookie]:
    """Which backend a new client reaches, and the cookies that it is given."""
    reply = await client.send(path)
    cookies = SimpleCookie()
    for value in reply.all("set-cookie"):
        cookies.load(value)
    return reply.backend, cookies


def header(cookies: SimpleCookie) -> str:
    return "; ".join(f"{name}={morsel.value}" for name, morsel in cookies.items())


@pytest.mark.proves(
    "gateway_api.HTTPRouteRule.sessionPersistence",
    "gateway_api.SessionPersistence.sessionName",
    "gateway_api.SessionPersistence.type",
)
async def test_a_cookie_keeps_a_session_at_its_endpoint() -> None:
    async with AsyncExitStack() as stack:
        client = await meeting(stack)
        met = set()
        for _ in range(8):
            first, cookies = await start(client, "/cookie")
            met.add(first)
            assert set(cookies) == {"kept"}
            assert cookies["kept"]["max-age"] == ""
            for _ in range(10):
                assert (await client.send("/cookie", Cookie=header(cookies))).backend == first
        assert len(met) > 1
        assert not (await client.send("/other")).all("set-cookie")


@pytest.mark.proves(
    "gateway_api.SessionPersistence.absoluteTimeout",
    "gateway_api.SessionPersistence.cookieConfig",
    "gateway_api.CookieConfig.lifetimeType",
)
async def test_a_permanent_cookie_says_how_long_it_lasts() -> None:
    async with AsyncExitStack() as stack:
        client = await meeting(stack)
        first, cookies = await start(client, "/permanent")
        (morsel,) = cookies.values()
        assert morsel["max-age"] == "3600"
        for _ in range(10):
            assert (await client.send("/permanent", Cookie=header(cookies))).backend == first


@pytest.mark.proves("gateway_api.SessionPersistence.type")
async def test_a_header_keeps_a_session_at_its_endpoint() -> None:
    async with AsyncExitStack() as stack:
        client = await meeting(stack)
        reply = await client.send("/header")
        for _ in range(10):
            again = await client.send("/header", **{"x-kept": reply.headers["x-kept"]})
            assert again.backend == reply.backend


@pytest.mark.proves("gateway_api.HTTPBackendRef.weight")
async def test_a_session_stays_at_its_backend_where_there_are_several() -> None:
    async with AsyncExitStack() as stack:
        client = await meeting(stack)
        firsts = []
        for _ in range(100):
            first, cookies = await start(client, "/several")
            firsts.append(first)
            for _ in range(3):
                assert (await client.send("/several", Cookie=header(cookies))).backend == first
    # A quarter of 100: a standard deviation of 4.3, bounds of five.
    assert 4 <= sum(name.startswith("other") for name in firsts) <= 46
