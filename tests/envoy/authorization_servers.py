"""Services that are asked whether requests may pass: over HTTP, and by Envoy's gRPC protocol.

Both allow whoever has the header `x-token: good` (in what they are told), unless they are told otherwise.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from aiohttp import web
from envoy.service.auth.v3 import external_auth_pb2 as auth_pb
from envoy.service.auth.v3 import external_auth_pb2_grpc as auth_grpc
from google.rpc import status_pb2

PERMISSION_DENIED = 7


@dataclass
class Asked:
    """What a service was told of a request; of a connection only who made it."""

    method: str = ""
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    raw: bool = False
    """The body came as bytes, not as text."""
    principal: str = ""


@dataclass
class Authorizer:
    """What it was asked, and what it answers with."""

    port: int = 0
    seen: list[Asked] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=lambda: {"x-who": "ann", "x-level": "7"})
    """Headers of its answers."""
    verdict: bool | None = None
    """Of all; None: by what it is told."""
    failing: bool = False
    delay: float = 0.0

    async def decide(self, asked: Asked) -> bool:
        self.seen.append(asked)
        await asyncio.sleep(self.delay)
        return asked.headers.get("x-token") == "good" if self.verdict is None else self.verdict

    @property
    def last(self) -> Asked:
        return self.seen[-1]


@asynccontextmanager
async def http_authorizer() -> AsyncIterator[Authorizer]:
    made = Authorizer()

    async def answer(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        allowed = await made.decide(Asked(request.method, request.raw_path, headers, await request.read()))
        status = 503 if made.failing else 200 if allowed else 401
        return web.Response(status=status, headers=made.answers, text="asked")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = runner.addresses[0][1]
    try:
        yield made
    finally:
        await runner.cleanup()


class _Service(auth_grpc.AuthorizationServicer):
    def __init__(self, made: Authorizer) -> None:
        self._made = made

    async def Check(self, request: Any, context: Any) -> Any:
        http = request.attributes.request.http
        body = http.raw_body or http.body.encode()
        principal = request.attributes.source.principal
        asked = Asked(http.method, http.path, dict(http.headers), body, bool(http.raw_body), principal)
        allowed = await self._made.decide(asked)
        if self._made.failing:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "down")
        code = 0 if allowed else PERMISSION_DENIED
        answer = auth_pb.CheckResponse(status=status_pb2.Status(code=code))
        told = answer.ok_response if allowed else answer.denied_response
        for name, value in self._made.answers.items():
            told.headers.add().header.MergeFrom(_header(name, value))
        if not allowed:
            answer.denied_response.status.code = 401
            answer.denied_response.body = "asked"
        return answer


def _header(name: str, value: str) -> Any:
    made = auth_pb.OkHttpResponse().headers.add().header
    made.key, made.value = name, value
    return made


@asynccontextmanager
async def grpc_authorizer() -> AsyncIterator[Authorizer]:
    made = Authorizer()
    server = grpc.aio.server()
    auth_grpc.add_AuthorizationServicer_to_server(_Service(made), server)
    made.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield made
    finally:
        await server.stop(0)
