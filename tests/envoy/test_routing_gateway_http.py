"""A real Envoy as a gateway: what strangers' requests become."""

import asyncio
from typing import Any

import aiohttp
from routing_envoy import RoutedClient, backend, cluster, run_envoy, static_gateway, virtual_service

from marline.api.resource import Ref
from marline.compile.gateway_server import HostTable, Kind, Server
from marline.compile.routes_l4 import L4Route, WeightedTarget

GATEWAY = Ref("networking.istio.io", "Gateway", "edge", "gateway")
ROUTE = "- route: [{destination: {host: app}}]"
_COUNTER = "envoy_istio_requests_total{"


def http(*hosts: HostTable) -> dict[str, Any]:
    return static_gateway([Server(Kind.HTTP, 80, GATEWAY, "http", table="http.80")], *hosts)


async def test_claims_of_strangers_are_removed_and_paths_normalised() -> None:
    listener = http(HostTable("*", (virtual_service(ROUTE),)))
    async with backend("app") as app:
        static = {"listeners": [listener], "clusters": [cluster("app", [app.port])]}
        async with run_envoy(static) as envoy, aiohttp.ClientSession() as session:
            client = RoutedClient(session, envoy.ports["gateway"])
            reply = await client.send(
                "/a/%2e%2e/b",
                x_forwarded_client_cert="By=spiffe://me;URI=spiffe://cluster.local/ns/a/sa/admin",
                x_envoy_internal="true",
                x_forwarded_for="10.0.0.1",
            )
    sent = reply.body["headers"]
    assert "x-forwarded-client-cert" not in sent
    # A client on the loopback is written with the address of the machine.
    assert sent["x-forwarded-for"].startswith("10.0.0.1,")
    assert reply.body["path"] == "/b"


async def test_the_most_specific_host_decides_and_ports_do_not_count() -> None:
    listener = http(
        HostTable("one.example", (virtual_service("- route: [{destination: {host: one}}]"),)),
        HostTable("*.example", (virtual_service("- route: [{destination: {host: wild}}]"),)),
        HostTable("secure.example", require_tls=True),
    )
    async with backend("one") as one, backend("wild") as wild:
        clusters = [cluster("one", [one.port]), cluster("wild", [wild.port])]
        static = {"listeners": [listener], "clusters": clusters}
        async with run_envoy(static) as envoy, aiohttp.ClientSession() as session:
            client = RoutedClient(session, envoy.ports["gateway"])
            assert (await client.send("/", Host="one.example:8080")).backend == "one"
            assert (await client.send("/", Host="two.example")).backend == "wild"
            assert (await client.send("/", Host="elsewhere.org")).status == 404
            moved = await client.send("/x", Host="secure.example")
    assert (moved.status, moved.headers["location"]) == (301, "https://secure.example/x")


async def test_requests_are_counted_as_the_gateways() -> None:
    listener = http(HostTable("*", (virtual_service(ROUTE),)))
    async with backend("app") as app:
        static = {"listeners": [listener], "clusters": [cluster("app", [app.port])]}
        async with run_envoy(static) as envoy, aiohttp.ClientSession() as session:
            await RoutedClient(session, envoy.ports["gateway"]).send("/")
            async with asyncio.timeout(5):
                while _COUNTER not in (stats := await envoy.admin("/stats/prometheus")):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
    (line,) = [item for item in stats.splitlines() if item.startswith(_COUNTER)]
    assert 'reporter="source"' in line
    assert 'source_workload="ingress"' in line
    assert 'response_code="200"' in line


async def test_websockets_pass_through_the_gateway() -> None:
    listener = http(HostTable("*", (virtual_service(ROUTE),)))
    async with backend("app") as app:
        static = {"listeners": [listener], "clusters": [cluster("app", [app.port])]}
        async with run_envoy(static) as envoy, aiohttp.ClientSession() as session:
            client = RoutedClient(session, envoy.ports["gateway"])
            async with client.websocket("/ws") as socket:
                await socket.send_str("hello")
                assert await socket.receive_str() == "app:hello"


async def test_tcp_servers_share_connections_by_weight() -> None:
    shares = (WeightedTarget("one", 1), WeightedTarget("two", 1))
    server = Server(Kind.TCP, 9000, GATEWAY, "tcp", l4=(L4Route(shares),))
    async with backend("one") as one, backend("two") as two:
        clusters = [cluster("one", [one.port]), cluster("two", [two.port])]
        static = {"listeners": [static_gateway([server])], "clusters": clusters}
        async with run_envoy(static) as envoy:
            seen = []
            for _ in range(200):
                async with aiohttp.ClientSession() as session:
                    seen.append((await RoutedClient(session, envoy.ports["gateway"]).send("/")).backend)
    # Half of 200: a standard deviation of 7, bounds of five.
    assert 65 <= seen.count("one") <= 135
    assert seen.count("one") + seen.count("two") == 200
