"""Single checks of an application, over real sockets: HTTP, TCP, gRPC health, a command."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from aiohttp import web
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from marline.node.checks import (
    Target,
    check_all_ports,
    check_exec,
    check_grpc,
    check_http,
    check_of,
    check_tcp,
)
from marline.node.ports import Reservations
from marline.node.probes import once_ready, watch_readiness
from marline.node.process import Launch
from marline.node.workload import ExecCheck, GrpcCheck, HttpCheck, ProbeSpec, TcpCheck

HERE = ""
"""This network namespace."""


@asynccontextmanager
async def http_server(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[int]:
    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def tcp_server(says: bytes = b"") -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    """A port at which nobody listens."""
    reservations = Reservations()
    port = reservations.port()
    reservations.release()
    return port


@pytest.mark.parametrize(
    ("status", "ready"), [(200, True), (204, True), (302, True), (399, True), (400, False), (503, False)]
)
async def test_http_is_ready_from_200_to_399(status: int, ready: bool) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"location": "http://192.0.2.1/"})

    async with http_server(answer) as port:
        reason = await check_http(HttpCheck("/ready"), port, HERE)
    assert reason == ("" if ready else f"GET /ready on port {port}: {status}")


async def test_http_asks_for_the_path_with_the_headers_that_are_given() -> None:
    seen: list[tuple[str, str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.raw_path, request.headers["x-probe"], request.headers["user-agent"]))
        return web.Response()

    async with http_server(answer) as port:
        spec = HttpCheck("live?deep=1", headers={"x-probe": "yes"})
        assert await check_http(spec, port, HERE) == ""
        other = HttpCheck("/", headers={"x-probe": "yes", "User-Agent": "mine"})
        assert await check_http(other, port, HERE) == ""
    assert seen == [("/live?deep=1", "yes", "marline-probe"), ("/", "yes", "mine")]


async def test_http_does_not_go_through_a_proxy(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response()

    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port}")
    async with http_server(answer) as port:
        assert await check_http(HttpCheck(), port, HERE) == ""


async def test_what_speaks_no_http_is_not_ready() -> None:
    async with tcp_server(b"220 mail\r\n") as port:
        assert f"GET / on port {port}: " in await check_http(HttpCheck(), port, HERE)


async def test_where_nobody_listens_nothing_is_ready(closed_port: int) -> None:
    assert await check_tcp(closed_port, HERE) == f"port {closed_port}: Connection refused"
    assert f"port {closed_port}" in await check_http(HttpCheck(), closed_port, HERE)
    assert await check_grpc(GrpcCheck(), closed_port, HERE) == f"port {closed_port}: Connection refused"


async def test_tcp_is_ready_when_it_takes_connections(closed_port: int) -> None:
    async with tcp_server() as port:
        assert await check_tcp(port, HERE) == ""
        assert await check_all_ports(Target({80: port, 81: port})) == ""
        reason = await check_all_ports(Target({80: port, 81: closed_port}))
        assert reason == f"port {closed_port}: Connection refused"
    assert await check_all_ports(Target({})) == ""


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        ("", ""),
        ("shop.Cart", ""),
        ("shop.Broken", "not serving"),
        ("shop.Nobody", "gRPC status 5"),
        ("x" * 300, "gRPC status 5"),
    ],
)
async def test_grpc_is_ready_when_its_health_service_says_so(service: str, reason: str) -> None:
    servicer = health.aio.HealthServicer()
    await servicer.set("shop.Cart", health_pb2.HealthCheckResponse.SERVING)
    await servicer.set("shop.Broken", health_pb2.HealthCheckResponse.NOT_SERVING)
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        said = await check_grpc(GrpcCheck(service=service), port, HERE)
    finally:
        await server.stop(None)
    assert said.startswith(f"port {port}: {reason}") if reason else said == ""


async def test_grpc_without_health_service_is_not_ready() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        assert "gRPC status 12" in await check_grpc(GrpcCheck(), port, HERE)
    finally:
        await server.stop(None)


@pytest.mark.parametrize("says", [b"HTTP/1.1 200 OK\r\n\r\n", b"\0" * 64, b"\xff" * 9])
async def test_what_speaks_no_grpc_is_not_ready(says: bytes) -> None:
    async with tcp_server(says) as port:
        reason = await check_grpc(GrpcCheck(), port, HERE)
    assert reason.startswith((f"port {port}: no gRPC answer", f"port {port}: the connection was closed"))


def launch(tmp_path: Path) -> Launch:
    """How the application runs that is checked."""
    return Launch(("app",), {"PATH": os.defpath, "WHO": "app"}, str(tmp_path), log=tmp_path / "log")


async def test_a_command_is_ready_when_it_ends_with_0(tmp_path: Path) -> None:
    assert await check_exec(ExecCheck(("true",)), launch(tmp_path)) == ""
    assert await check_exec(ExecCheck(("false",)), launch(tmp_path)) == "false ended with 1"
    assert await check_exec(ExecCheck(("/no/such",)), launch(tmp_path)) == "/no/such ended with 127"


async def test_a_command_runs_as_the_application_does(tmp_path: Path) -> None:
    command = ("sh", "-c", 'echo "$WHO in $(pwd)"')
    assert await check_exec(ExecCheck(command), launch(tmp_path)) == ""
    with (tmp_path / "log").open() as log:
        assert log.read() == f"app in {tmp_path}\n"


async def test_a_command_that_takes_too_long_is_ended_and_not_ready(tmp_path: Path) -> None:
    told: asyncio.Queue[tuple[bool, str]] = asyncio.Queue()
    command = ExecCheck(("sh", "-c", "echo $$; exec sleep 99"))
    spec = ProbeSpec(exec=command, timeout=0.5, period=99.0)
    check = check_of(spec, Target({}), launch(tmp_path))
    watching = asyncio.create_task(watch_readiness(spec, check, lambda *said: told.put_nowait(said)))
    try:
        async with asyncio.timeout(20):
            assert await told.get() == (False, "no answer within 0.5 s")
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    with (tmp_path / "log").open() as log, pytest.raises(ProcessLookupError):
        os.kill(int(log.readline()), 0)


@pytest.mark.parametrize(("asked", "reached"), [(0, 5001), (80, 5001), (81, 5002), (5002, 5002), (9, 9)])
def test_a_probe_may_name_the_services_port_or_the_applications(asked: int, reached: int) -> None:
    assert Target({80: 5001, 81: 5002}).port(asked) == reached


async def test_a_probe_without_port_asks_the_first(tmp_path: Path) -> None:
    async with tcp_server() as port:
        check = check_of(ProbeSpec(tcp=TcpCheck()), Target({80: port, 81: 1}), launch(tmp_path))
        assert await check() == ""


async def test_a_workload_without_probe_is_ready_from_the_first_success_on(closed_port: int) -> None:
    told: list[tuple[bool, str]] = []
    listening: list[asyncio.Server] = []

    async def check() -> str:
        if told and not listening:
            listening.append(await asyncio.start_server(lambda *_: None, "127.0.0.1", closed_port))
        return await check_all_ports(Target({80: closed_port}))

    async with asyncio.timeout(20):
        await once_ready(check, lambda *said: told.append(said))
    listening[0].close()
    assert told == [(False, f"port {closed_port}: Connection refused"), (True, "")]
