"""Which failures a sidecar repeats, how often, how fast, and where."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from mesh_client import called, subsets
from routing_envoy import RoutedClient, backend, cluster, route_listener, routed, run_envoy, virtual_service

from marline.compile.routes_hosts import build_virtual_host

GRPC = {"content_type": "application/grpc"}


def rules(retry_on: str, **fields: str) -> str:
    more = "".join(f", {name}: {value}" for name, value in fields.items())
    return f"""
- retries: {{attempts: 1, retryOn: "{retry_on}"{more}}}
  route: [{{destination: {{host: app}}}}]
"""


class Failing:
    """Answers the first request as it is told (None: closes the connection), the others with 200."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer, self.port, self.seen = answer, 0, 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.seen += 1
                answer = self.answer if self.seen == 1 else _answer(200)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        writer.close()


def _answer(status: int, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", "content-length: 0", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


@asynccontextmanager
async def failing(answer: bytes | None) -> AsyncIterator[Failing]:
    made = Failing(answer)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    async with server:
        made.port = server.sockets[0].getsockname()[1]
        yield made


GRPC_ERROR = "content-type: application/grpc"


@pytest.mark.proves("networking.HTTPRetry.retryOn")
@pytest.mark.parametrize(
    ("condition", "answer", "status"),
    [
        ("5xx", _answer(500), 200),
        ("5xx", _answer(404), 404),
        ("gateway-error", _answer(502), 200),
        ("gateway-error", _answer(500), 500),
        ("retriable-4xx", _answer(409), 200),
        ("retriable-4xx", _answer(404), 404),
        ("reset", None, 200),
        ("connect-failure", None, 503),
        ("envoy-ratelimited", _answer(429, "x-envoy-ratelimited: true"), 200),
        ("418", _answer(418), 200),
        ("418,connect-failure", _answer(503), 503),
        ("retriable-status-codes,404", _answer(404), 200),
        ("cancelled", _answer(200, GRPC_ERROR, "grpc-status: 1"), 200),
        ("deadline-exceeded", _answer(200, GRPC_ERROR, "grpc-status: 4"), 200),
        ("resource-exhausted", _answer(200, GRPC_ERROR, "grpc-status: 8"), 200),
        ("internal", _answer(200, GRPC_ERROR, "grpc-status: 13"), 200),
        ("unavailable", _answer(200, GRPC_ERROR, "grpc-status: 14"), 200),
    ],
)
async def test_a_failure_is_repeated_if_the_rule_names_it(
    condition: str, answer: bytes | None, status: int
) -> None:
    async with (
        failing(answer) as app,
        routed(virtual_service(rules(condition)), {"app": [app.port]}) as client,
    ):
        headers = GRPC if answer and b"grpc" in answer else {}
        reply = await client.send("/", **headers)
    assert reply.status == status
    assert "grpc-status" not in reply.headers
    assert app.seen == (2 if status == 200 else 1)


@pytest.mark.proves("networking.HTTPRoute.retries", "networking.HTTPRetry.retryOn")
@pytest.mark.parametrize("retries", ["", "retries: {attempts: 1}, "])
@pytest.mark.parametrize(
    ("answer", "repeated"),
    [(_answer(200, GRPC_ERROR, "grpc-status: 14"), True), (_answer(503), False), (None, False)],
)
async def test_by_default_only_what_did_not_reach_the_application_is_repeated(
    retries: str, answer: bytes | None, repeated: bool
) -> None:
    """A 503 may be the application's own, and whoever closes the connection may have acted."""
    rule = f"- {{{retries}route: [{{destination: {{host: app}}}}]}}"
    async with failing(answer) as app, routed(virtual_service(rule), {"app": [app.port]}) as client:
        headers = GRPC if answer and b"grpc" in answer else {}
        assert (await client.send("/", **headers)).status == (200 if repeated else 503)
    assert app.seen == (2 if repeated else 1)


@pytest.mark.proves("networking.HTTPRetry.retryOn")
async def test_connections_that_fail_are_tried_again_on_another_host() -> None:
    async with backend("app") as app:
        closed = app.port + 1 if app.port < 65000 else app.port - 1
        ports = {"app": [closed, app.port]}
        retrying = rules("connect-failure,refused-stream", retryIgnorePreviousHosts="true")
        async with routed(virtual_service(retrying), ports) as client:
            assert {(await client.send("/")).status for _ in range(6)} == {200}


@pytest.mark.proves("networking.HTTPRetry.perTryTimeout", "networking.HTTPRetry.attempts")
async def test_each_attempt_has_its_own_time() -> None:
    once = rules("5xx,reset", perTryTimeout="0.2s")
    async with backend("app") as app, routed(virtual_service(once), {"app": [app.port]}) as client:
        app.delay = 1.0
        reply = await client.send("/")
    assert (reply.status, len(app.seen)) == (504, 2)


@pytest.mark.proves("networking.HTTPRetry.backoff")
async def test_retries_wait_longer_and_longer() -> None:
    """Envoy waits a random time of up to the base, then of up to three and seven times the base."""

    async def took(backoff: str) -> float:
        text = rules("503", backoff=backoff).replace("attempts: 1", "attempts: 8")
        async with backend("app") as app, routed(virtual_service(text), {"app": [app.port]}) as client:
            app.failures = 8
            begun = time.monotonic()
            assert (await client.send("/")).status == 200
            return time.monotonic() - begun

    assert await took("1ms") < await took("300ms")


@pytest.mark.proves("networking.HTTPRetry.retryIgnorePreviousHosts")
@pytest.mark.parametrize(("ignore", "hosts"), [("true", 2), ("false", 1)])
async def test_retries_avoid_hosts_that_have_failed_unless_told_otherwise(ignore: str, hosts: int) -> None:
    """Consistent hashing leads every attempt to one host, if nothing keeps the retries away from it."""
    hashed = "{loadBalancer: {consistentHash: {httpHeaderName: x-user}}}"
    service = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: app, namespace: default}
spec:
  hosts: [app]
  http:
  - retries: {attempts: 1, retryOn: "503", retryIgnorePreviousHosts: %s}
    route: [{destination: {host: app}}]
"""
    async with called(service % ignore + subsets("app", policy=hashed), "app/v1", "app/v2") as mesh:
        for app in mesh.backends.values():
            app.failures = 1
        await mesh.send("app", x_user="me")
        assert sum(bool(app.seen) for app in mesh.backends.values()) == hosts


@pytest.mark.proves("networking.HTTPRetry.retryRemoteLocalities")
@pytest.mark.parametrize(("remote", "status"), [("true", 200), ("false", 503)])
async def test_retries_go_to_other_localities_if_they_may(remote: str, status: int) -> None:
    """The endpoints of another locality are of the second priority: none of them is used as long as those
    of the first are taken to be healthy."""
    text = rules("503", retryRemoteLocalities=remote).replace("attempts: 1", "attempts: 4")
    host = build_virtual_host("app", ("*",), virtual_service(text), None, "")
    async with backend("near") as near, backend("far") as far:
        near.failures = 100
        of_far = cluster("app", [far.port])["load_assignment"]["endpoints"][0] | {"priority": 1}
        made = cluster("app", [near.port])
        made["load_assignment"]["endpoints"].append(of_far)
        static = {"listeners": [route_listener([host])], "clusters": [made]}
        async with run_envoy(static) as envoy, aiohttp.ClientSession() as session:
            reply = await RoutedClient(session, envoy.ports["routes"]).send("/")
    assert reply.status == status
    assert bool(far.seen) is (status == 200)
