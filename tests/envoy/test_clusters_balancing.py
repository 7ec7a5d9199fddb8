"""Which endpoint answers: the simple load balancers, and consistent hashing over all that it may look at."""

import asyncio

import pytest
from called_service import Caller, called, rule

THREE: dict[str, dict[str, object]] = {"a": {}, "b": {}, "c": {}}


def hashing(settings: str) -> str:
    return rule(f"{{loadBalancer: {{consistentHash: {{{settings}}}}}}}")


async def path_chooses(mesh: Caller, query: str) -> str:
    """Who answers requests with this query: always the same."""
    names = {(await mesh.get(f"/?{query}"))[1] for _ in range(5)}
    assert len(names) == 1
    return names.pop()


@pytest.mark.proves("networking.LoadBalancerSettings.simple")
async def test_round_robin_asks_one_after_the_other() -> None:
    async with called(THREE, rule("{loadBalancer: {simple: ROUND_ROBIN}}")) as mesh:
        names = [(await mesh.get())[1] for _ in range(12)]
    assert all(set(names[start : start + 3]) == set(THREE) for start in range(0, 12, 3))


@pytest.mark.proves("networking.LoadBalancerSettings.simple")
async def test_random_keeps_no_order() -> None:
    async with called(THREE, rule("{loadBalancer: {simple: RANDOM}}")) as mesh:
        names = [(await mesh.get())[1] for _ in range(60)]
    assert set(names) == set(THREE)
    assert any(len(set(names[start : start + 3])) < 3 for start in range(0, 60, 3))


@pytest.mark.proves("networking.LoadBalancerSettings.simple")
@pytest.mark.parametrize("balancing", ["LEAST_REQUEST", "LEAST_CONN", "UNSPECIFIED"])
async def test_the_busy_are_asked_less(balancing: str) -> None:
    """One of two that never answers gets the requests for which both of two draws fall on it: a quarter."""
    async with called({"stuck": {}, "quick": {}}, rule(f"{{loadBalancer: {{simple: {balancing}}}}}")) as mesh:
        stuck = mesh.backends["stuck"]
        stuck.delay = 600
        waiting: list[asyncio.Task[object]] = []
        for _ in range(100):
            stuck.arrived.clear()
            waiting.append(asyncio.create_task(mesh.get()))
            arrival = asyncio.create_task(stuck.arrived.wait())
            await asyncio.wait((waiting[-1], arrival), return_when=asyncio.FIRST_COMPLETED, timeout=20)
            arrival.cancel()
        assert 0 < len(stuck.seen) < 42
        for task in waiting:
            task.cancel()


@pytest.mark.proves(
    "networking.LoadBalancerSettings.consistentHash", "networking.ConsistentHash.httpHeaderName"
)
async def test_a_header_leads_to_one_endpoint() -> None:
    async with called(THREE, hashing("httpHeaderName: x-user")) as mesh:
        chosen = {}
        for number in range(20):
            names = {(await mesh.get(x_user=f"user-{number}"))[1] for _ in range(4)}
            assert len(names) == 1
            chosen[number] = names.pop()
    assert set(chosen.values()) == set(THREE)


@pytest.mark.proves("networking.ConsistentHash.httpQueryParameterName")
async def test_a_query_parameter_leads_to_one_endpoint() -> None:
    async with called(THREE, hashing("httpQueryParameterName: user")) as mesh:
        assert {await path_chooses(mesh, f"user=u{number}") for number in range(20)} == set(THREE)


@pytest.mark.proves("networking.ConsistentHash.useSourceIp")
async def test_a_source_address_leads_to_one_endpoint() -> None:
    async with called(THREE, hashing("useSourceIp: true")) as mesh:
        assert len(await mesh.answers()) == 1


@pytest.mark.proves(
    "networking.ConsistentHash.httpCookie",
    "networking.HTTPCookie.name",
    "networking.HTTPCookie.path",
    "networking.HTTPCookie.ttl",
    "networking.HTTPCookie.attributes",
    "networking.HTTPCookieAttribute.name",
    "networking.HTTPCookieAttribute.value",
)
async def test_a_client_without_the_cookie_is_given_one_that_leads_back() -> None:
    cookie = (
        "{name: user, path: /shop, ttl: 60s, attributes: [{name: SameSite, value: Strict}, {name: Secure}]}"
    )
    async with called(THREE, hashing(f"httpCookie: {cookie}")) as mesh:
        async with mesh.session.get(mesh.url) as response:
            name = (await response.json())["backend"]
            given = response.headers["set-cookie"]
        assert given.startswith("user=")
        for part in ("Max-Age=60", "Path=/shop", "SameSite=Strict", "Secure"):
            assert part in given
        value = given.partition(";")[0]
        assert {(await mesh.get(cookie=value))[1] for _ in range(10)} == {name}
        assert {(await mesh.get(cookie=f"user={number}"))[1] for number in range(20)} == set(THREE)


@pytest.mark.proves("networking.HTTPCookie.ttl")
async def test_without_a_lifetime_only_cookies_that_clients_bring_count() -> None:
    async with called(THREE, hashing("httpCookie: {name: user}")) as mesh:
        async with mesh.session.get(mesh.url) as response:
            assert "set-cookie" not in response.headers
        assert len({(await mesh.get(cookie="user=me"))[1] for _ in range(10)}) == 1


@pytest.mark.proves(
    "networking.ConsistentHash.ringHash",
    "networking.RingHash.minimumRingSize",
    "networking.ConsistentHash.minimumRingSize",
)
@pytest.mark.parametrize(
    ("size", "least"),
    [("", 1024), (", minimumRingSize: 96", 96), (", ringHash: {minimumRingSize: 4096}", 4096)],
)
async def test_the_ring_is_as_large_as_the_rule_says(size: str, least: int) -> None:
    async with called(THREE, hashing(f"useSourceIp: true{size}")) as mesh:
        await mesh.get()
        assert least <= await mesh.stat("ring_hash_lb.size") <= least + 3


@pytest.mark.proves("networking.ConsistentHash.maglev", "networking.Maglev.tableSize")
async def test_a_maglev_table_is_as_large_as_the_rule_says() -> None:
    async with called(THREE, hashing("httpHeaderName: x-user, maglev: {tableSize: 101}")) as mesh:
        assert len({(await mesh.get(x_user="me"))[1] for _ in range(10)}) == 1
        assert await mesh.stat("maglev_lb.max_entries_per_host") == 34
        assert await mesh.stat("maglev_lb.min_entries_per_host") == 33
