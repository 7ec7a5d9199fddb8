"""Raw TCP, HTTP/2, WebSocket and an HTTP proxy all work between two real sidecars."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import grpc
import pytest
from routing_envoy import backend
from static_mesh import envoy_for, free_port, snapshot_of
from test_core_mtls import MESH, client_proxy, get, pair, server_proxy

from marline.mesh.model import Capture, InboundPort, Protocol, Proxy, Role, Upstream, Workload

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def tcp_pair(name: str, handler: Handler, http_proxy: int = 0) -> AsyncIterator[int]:
    """The client's port for a TCP server behind both sidecars."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    app = server.sockets[0].getsockname()[1]
    async with server, AsyncExitStack() as stack:
        listen, outbound = free_port(), free_port()
        snapshot = snapshot_of(MESH.format(name=name, port=listen, account="reviews"))
        await stack.enter_async_context(envoy_for(snapshot, server_proxy(name, listen, app)))
        await stack.enter_async_context(envoy_for(snapshot, client_proxy(outbound, http_proxy)))
        yield outbound


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1000):
        writer.write(data)
    writer.close()


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello first\n")
    await reader.read(1)
    writer.close()


@pytest.mark.parametrize("name", ["tcp", "auto"])
async def test_bytes_go_both_ways(name: str) -> None:
    async with tcp_pair(name, echo) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x00\x01 no HTTP at all")
        assert await asyncio.wait_for(reader.readexactly(17), 10) == b"\x00\x01 no HTTP at all"
        writer.close()


@pytest.mark.parametrize("name", ["tcp", "auto"])
async def test_the_server_may_speak_first(name: str) -> None:
    async with tcp_pair(name, greet) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await asyncio.wait_for(reader.readline(), 20) == b"hello first\n"
        writer.close()


async def test_connect_reaches_a_tcp_service_through_the_http_proxy() -> None:
    proxy = free_port()
    async with tcp_pair("tcp", echo, proxy):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy)
        writer.write(b"CONNECT reviews:9080 HTTP/1.1\r\nHost: reviews:9080\r\n\r\n")
        assert b"200" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        writer.write(b"tunnelled")
        assert await asyncio.wait_for(reader.readexactly(9), 10) == b"tunnelled"
        writer.close()


@pytest.mark.parametrize("name", ["http", "auto"])
async def test_a_websocket_stays_open_through_both_sidecars(name: str) -> None:
    async with (
        pair(name) as mesh,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{mesh.url}/chat") as socket,
    ):
        await socket.send_str("hello")
        assert (await socket.receive(timeout=10)).data == "reviews:hello"


async def test_http1_applications_may_have_http2_between_their_sidecars() -> None:
    upgrade = """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec: {host: reviews, trafficPolicy: {connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}}
"""
    async with pair("http", upgrade) as mesh:
        status, _ = await get(mesh.url)
        stats = await mesh.server.admin("/stats?filter=downstream_cx_http2_total")
    assert (status, mesh.app.seen[0].version) == (200, aiohttp.HttpVersion11)
    assert any("inbound" in line and line.endswith(": 1") for line in stats.splitlines())


async def test_the_http_proxy_routes_by_the_name_in_the_request() -> None:
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(backend("reviews"))
        other = await stack.enter_async_context(backend("outside"))
        listen, proxy = free_port(), free_port()
        snapshot = snapshot_of(MESH.format(name="http", port=listen, account="reviews"))
        await stack.enter_async_context(envoy_for(snapshot, server_proxy("http", listen, app.port)))
        await stack.enter_async_context(envoy_for(snapshot, client_proxy(free_port(), proxy)))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        found = []
        for url in ("http://reviews.default:9080/x", f"http://127.0.0.1:{other.port}/x"):
            async with session.get(url, proxy=f"http://127.0.0.1:{proxy}") as response:
                found.append((await response.json())["backend"])
    assert found == ["reviews", "outside"]


async def test_grpc_streams_through_both_sidecars() -> None:
    async with grpc_server() as app, AsyncExitStack() as stack:
        listen, outbound = free_port(), free_port()
        snapshot = snapshot_of(MESH.format(name="grpc", port=listen, account="reviews"))
        served = InboundPort("grpc", listen, "127.0.0.1", app, Protocol.GRPC)
        workload = Workload("default", "reviews-1", "reviews", inbound=(served,))
        proxy = Proxy("server", Role.SIDECAR, Capture.EXPLICIT, (workload,))
        client = Workload("default", "client", upstreams=(Upstream("reviews", 9080, outbound),))
        await stack.enter_async_context(envoy_for(snapshot, proxy))
        await stack.enter_async_context(
            envoy_for(snapshot, Proxy("client", Role.SIDECAR, Capture.EXPLICIT, (client,)))
        )
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{outbound}"))
        call = channel.stream_stream("/test.Echo/Say")(iter([b"one", b"two"]), timeout=10)
        assert [message async for message in call] == [b"one", b"two"]


@asynccontextmanager
async def grpc_server() -> AsyncIterator[int]:
    async def say(messages: AsyncIterator[bytes], _: object) -> AsyncIterator[bytes]:
        async for message in messages:
            yield message

    server = grpc.aio.server()
    method = grpc.stream_stream_rpc_method_handler(say)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", {"Say": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)
