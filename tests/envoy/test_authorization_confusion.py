"""Requests that try to be taken for others: none passes a DENY policy, or comes to what ALLOW does not name.

What counts is what the application sees, and makes of it. It decodes a path once; by mode of normalization it
may also take several slashes for one, and encoded ones for slashes.
"""

import asyncio
import posixpath
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

import pytest
from aiohttp import web
from authorized_mesh import AuthorizedMesh, authorized, request_text
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, ResponseReceived, StreamReset

CALLER = "cluster.local/ns/shop/sa/web"
HOST = "internal.example.com"
TARGETS = (
    "/admin", "/%61dmin", "/%61%64min", "/ad%6Din/x", "/./admin", "/x/../admin", "/x/%2e%2e/admin",
    "/x/.%2e/admin", "/public/../admin", "/public/%2e%2e/admin", "/public/..;/admin", "/.;/admin", "//admin",
    "/%2fadmin", "/%2Fadmin/x", "/public/%2f../../admin", "/public%2f..%2fadmin", "/public%5c..%5cadmin",
    "/public\\..\\admin", "\\admin", "/admin/", "/admin//x", "/admin%00", "/admin%00/x",
    "/public%00/../admin",
    "/admin?x=/public", "/public?/../admin", "/public#/../admin", "/admin#/public", "http://h/admin",
    "http://h//admin", "http://h/public/../admin", "http://h", "HTTP://h/admin", "//h/admin", "/%2561dmin",
    "/%c0%afadmin", "/%c0%ae%c0%ae/admin", "/public/%c0%ae%c0%ae/admin", "/\xc0\xafadmin",
    "/%252e%252e/admin",
    "/public/%252e%252e/admin", "/public/%25%32%65%25%32%65/admin", "/admin%2fx", "/admin%2f..%2fpublic", "*",
    "admin", "", "/admin/a*b", "/admin/a|b", '/admin/"', "/admin/{x}", "/admin/%7Bx%7D", "/admin/;x/y",
    "/public/./../././admin", "/..", "/../admin", "/" + "a/../" * 200 + "admin", "/admin/" + "x" * 2000,
)  # fmt: skip
Head = tuple[tuple[str, str], ...]


def http2(path: str, method: str = "GET", host: str = "h", *more: tuple[str, str]) -> Head:
    return ((":method", method), (":scheme", "http"), (":authority", host), (":path", path), *more)


HTTP2_HEADS: tuple[Head, ...] = (
    *(
        http2(target)
        for target in ("/admin", "/public/../admin", "//admin", "/%61dmin", "http://h/admin", "admin")
    ),
    *(http2(target) for target in ("*", "", "/admin#x", "/admin?x", "/public%2f..%2fadmin", "\\admin")),
    ((":path", "/public"), *http2("/admin")),
    http2("/public", "GET", "h", ("x", "1"), (":path", "/admin")),
    http2("/public", "GET", "h", ("host", HOST)),
    ((":method", "GET"), (":scheme", "http"), (":path", "/public"), ("host", HOST)),
    http2("/public", "GET", HOST.upper()),
    ((":method", "CONNECT"), (":authority", "h:80")),
    ((":protocol", "websocket"), *http2("/admin", "CONNECT")),
    ((":protocol", "websocket"), *http2("/public", "CONNECT")),
    http2("/public", "get"),
    http2("/public", "GET", "h", (":method", "POST")),
    http2("/public", "GET", "h", ("x-http-method-override", "POST")),
)
CHUNKED = "Transfer-Encoding: chunked"
SMUGGLED = "GET /admin HTTP/1.1\r\nHost: h\r\n\r\n"
HTTP1_HEADS = (
    f"GET /public HTTP/1.1\r\nHost: h\r\nHost: {HOST}\r\n\r\n",
    f"GET http://{HOST}/public HTTP/1.1\r\nHost: h\r\n\r\n",
    f"GET http://h/public HTTP/1.1\r\nHost: {HOST}\r\n\r\n",
    f"GET http://x@{HOST}/public HTTP/1.1\r\nHost: h\r\n\r\n",
    f"GET /public HTTP/1.1\r\nHost: {HOST.title()}\r\n\r\n",
    "GET /public HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: upgrade\r\nHTTP2-Settings: AAM\r\n\r\n",
    "GET /public HTTP/1.1\r\nHost: h\r\nContent-Length: 32\r\n\r\n" + SMUGGLED,
    f"POST /public HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n{CHUNKED}\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "GET /admin HTTP/1.0\r\n\r\n",
    "GET /admin\r\n\r\n",
    "GET  /admin HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET\t/admin HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /public\r\n /admin HTTP/1.1\r\nHost: h\r\n\r\n",
    "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\nGET /admin HTTP/1.1\r\nHost: h\r\n\r\n",
    "get /public HTTP/1.1\r\nHost: h\r\n\r\n",
)


def policy(index: int, action: str, **operation: list[str]) -> dict[str, Any]:
    return {
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": f"p{index}", "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": {"app": f"w{index}"}}, "action": action,
            "rules": [{"to": [{"operation": operation}]}],
        },
    }  # fmt: skip


def decoded(target: str) -> str:
    """By an application to which an encoded slash is none."""
    return unquote(re.sub("(?i)%(2f|5c)", r"%25\1", target.partition("?")[0]))


def merged(target: str) -> str:
    return re.sub("/+", "/", decoded(target))


def followed(target: str) -> str:
    """By one to which it is one, and which follows dots."""
    path = re.sub("/+", "/", unquote(target.partition("?")[0]).replace("\\", "/"))
    return posixpath.normpath(path)


def is_below(path: str, parent: str) -> bool:
    return path == parent or path.startswith(f"{parent}/")


def refused_paths(seen: list[web.Request], view: Callable[[str], str]) -> list[str]:
    return [request.raw_path for request in seen if is_below(view(request.raw_path), "/admin")]


POLICIES = (
    policy(0, "DENY", paths=["/admin", "/admin/*"]),
    policy(1, "DENY", paths=["/admin", "/admin/{**}"]),
    policy(2, "ALLOW", paths=["/public", "/public/*"]),
    policy(3, "DENY", hosts=[HOST]),
    policy(4, "ALLOW", methods=["POST"]),
)


@asynccontextmanager
async def normalizing(mode: str) -> AsyncIterator[AuthorizedMesh]:
    config = f"pathNormalization: {{normalization: {mode}}}"
    settings = {
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"mesh": config},
        "metadata": {"name": "istio", "namespace": "istio-system"},
    }  # fmt: skip
    async with authorized(len(POLICIES), POLICIES, settings) as mesh:
        yield mesh


async def send(mesh: AuthorizedMesh, workload: int, text: bytes) -> None:
    """Whatever is answered, if anything is."""
    connection = await mesh.connect(mesh.ports[workload][0], CALLER)
    connection.writer.write(text)
    async with asyncio.timeout(5):
        while data := await connection.reader.read(65536):
            if b"HTTP/1.1 4" in data[:12] or b'"headers"' in data or b"RBAC" in data:
                break
    connection.close()


async def send_http2(mesh: AuthorizedMesh, workload: int, head: tuple[tuple[str, str], ...]) -> None:
    checks_nothing = H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
    protocol = H2Connection(checks_nothing)
    protocol.initiate_connection()
    protocol.send_headers(1, head, end_stream=True)
    connection = await mesh.connect(mesh.ports[workload][0], CALLER)
    connection.writer.write(protocol.data_to_send())
    async with asyncio.timeout(5):
        while data := await connection.reader.read(65536):
            events = protocol.receive_data(data)
            connection.writer.write(protocol.data_to_send())
            if any(
                isinstance(item, (ResponseReceived, StreamReset, ConnectionTerminated)) for item in events
            ):
                break
    connection.close()


def check(mesh: AuthorizedMesh, workload: int, view: Callable[[str], str], attempt: object) -> int:
    """Nothing arrived that must not; how much did."""
    seen = list(mesh.app.seen)
    mesh.app.seen.clear()
    for request in seen:
        path, host = view(request.raw_path), request.headers.get("Host", "")
        if workload in (0, 1):
            assert not is_below(path, "/admin"), (attempt, request.raw_path)
        elif workload == 2:
            assert is_below(path, "/public"), (attempt, request.raw_path)
        elif workload == 3:
            assert host.lower() != HOST, (attempt, host)
        else:
            assert request.method == "POST", (attempt, request.method)
    return len(seen)


@pytest.mark.proves("mesh_config.ProxyPathNormalization.normalization", "security.Operation.paths")
@pytest.mark.parametrize(
    ("mode", "view"),
    [("DEFAULT", decoded), ("MERGE_SLASHES", merged), ("DECODE_AND_MERGE_SLASHES", followed)],
)
async def test_no_form_of_a_path_is_taken_for_another(mode: str, view: Callable[[str], str]) -> None:
    arrived = 0
    async with normalizing(mode) as mesh:
        for workload in range(3):
            for target in TARGETS:
                await send(mesh, workload, request_text(target))
                arrived += check(mesh, workload, view, target)
        if mode == "DEFAULT":
            for workload in range(len(POLICIES)):
                for text in HTTP1_HEADS:
                    await send(mesh, workload, text.encode())
                    arrived += check(mesh, workload, view, text)
                # Envoy closes a connection that breaks HTTP/2's rules after a second.
                await asyncio.gather(*(send_http2(mesh, workload, head) for head in HTTP2_HEADS))
                arrived += check(mesh, workload, view, "HTTP/2")
    assert arrived > 20


@pytest.mark.proves("mesh_config.ProxyPathNormalization.normalization")
async def test_without_normalization_paths_stay_as_they_are() -> None:
    async with normalizing("NONE") as mesh:
        await send(mesh, 2, request_text("/public/%61/../%2f//"))
        assert [request.raw_path for request in mesh.app.seen] == ["/public/%61/../%2f//"]
