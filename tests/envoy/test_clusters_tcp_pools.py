"""Connection pools for TCP: how many connections, how they are made, how long they last."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from called_service import Caller, called, rule
from open_socket import socket_to
from tcp_servers import echo, tcp_server

TCP = "{ports: [{name: tcp, port: 9080}]}"


def tcp(settings: str, place: str = "") -> str:
    return rule(f"{{connectionPool: {{tcp: {{{settings}}}}}{place}}}")


@asynccontextmanager
async def tcp_service(*rules: str) -> AsyncIterator[Caller]:
    async with tcp_server(echo) as port, called({"a": {"ports": {"tcp": port}}}, *rules, service=TCP) as mesh:
        yield mesh


async def is_closed(reader: asyncio.StreamReader) -> bool:
    return await asyncio.wait_for(reader.read(), 20) == b""


@pytest.mark.proves("networking.ConnectionPoolSettings.tcp", "networking.TCPSettings.maxConnections")
async def test_connections_beyond_the_limit_are_closed_at_once() -> None:
    async with tcp_service(tcp("maxConnections: 1")) as mesh:
        reader, writer = await mesh.connect()
        writer.write(b"first")
        assert await reader.readexactly(5) == b"first"
        other, second = await mesh.connect()
        assert await is_closed(other)
        writer.write(b"still")
        assert await reader.readexactly(5) == b"still"
        writer.close()
        second.close()


@pytest.mark.proves("networking.TCPSettings.maxConnectionDuration")
async def test_a_connection_ends_when_it_has_lasted_long_enough_however_busy_it_is() -> None:
    async with tcp_service(tcp("maxConnectionDuration: 0.5s")) as mesh:
        reader, writer = await mesh.connect()
        async with asyncio.timeout(20):
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                while True:
                    writer.write(b"busy")
                    await writer.drain()
                    await reader.readexactly(4)
        writer.close()


@pytest.mark.proves("networking.TCPSettings.maxConnectionDuration")
async def test_connections_for_http_end_too() -> None:
    async with called({"a": {}}, tcp("maxConnectionDuration: 0.2s")) as mesh:
        assert await mesh.get() == (200, "a")
        await mesh.wait_for_stat("upstream_cx_max_duration_reached", 1)


@pytest.mark.proves("networking.TCPSettings.idleTimeout")
async def test_an_idle_connection_is_closed() -> None:
    async with tcp_service(tcp("idleTimeout: 0.3s")) as mesh:
        reader, writer = await mesh.connect()
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        assert await is_closed(reader)
        writer.close()


@pytest.mark.proves("networking.TCPSettings.connectTimeout")
async def test_whoever_does_not_accept_in_time_is_given_up() -> None:
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        backends = {"a": {"ports": {"http": deaf.getsockname()[1]}}}
        async with called(backends, tcp("connectTimeout: 0.2s")) as mesh:
            assert (await mesh.get())[0] == 503
            assert await mesh.stat("upstream_cx_connect_timeout") >= 1


@pytest.mark.proves(
    "networking.TCPSettings.tcpKeepalive",
    "networking.TcpKeepalive.probes",
    "networking.TcpKeepalive.time",
    "networking.TcpKeepalive.interval",
)
async def test_the_kernel_keeps_connections_alive_as_the_rule_says() -> None:
    async with called({"a": {}}, tcp("tcpKeepalive: {probes: 4, time: 70s, interval: 7s}")) as mesh:
        assert await mesh.get() == (200, "a")
        with socket_to(mesh.envoy.pid, mesh.backends["a"].port) as connection:
            options = (socket.TCP_KEEPCNT, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert [connection.getsockopt(socket.IPPROTO_TCP, item) for item in options] == [4, 70, 7]
