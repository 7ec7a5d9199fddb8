"""HTTP that is not plain HTTP/1.1: old versions, absolute URIs, upgrades, CONNECT, the case of headers."""

import asyncio
import json

import pytest
from mesh_client import called

RULES = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: app, namespace: default}
spec:
  hosts: [app]
  http:
  - match: [{uri: {prefix: /old}}]
    rewrite: {uri: /new}
    route: [{destination: {host: app}}]
  - route: [{destination: {host: app}}]
"""


async def raw(port: int, request: str) -> str:
    """The answer to the bytes of a request, until the connection ends or nothing more comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.replace("\n", "\r\n").encode())
    found = b""
    try:
        while chunk := await asyncio.wait_for(reader.read(4096), 2):
            found += chunk
            if found.endswith(b"}"):
                break
    except TimeoutError:
        pass
    writer.close()
    return found.decode()


async def test_http_1_0_is_told_to_upgrade_as_by_istio() -> None:
    async with called(RULES, "app") as mesh:
        answer = await raw(mesh.ports["app"], "GET / HTTP/1.0\nHost: app:9080\n\n")
    assert answer.startswith("HTTP/1.1 426 Upgrade Required")


async def test_absolute_uris_are_routed_by_their_path() -> None:
    async with called(RULES, "app") as mesh:
        request = "GET http://app:9080/old/x HTTP/1.1\nHost: ignored\n\n"
        answer = await raw(mesh.ports["app"], request)
    body = json.loads(answer.partition("\r\n\r\n")[2])
    assert (body["path"], body["headers"]["host"]) == ("/new/x", "app.default.svc.cluster.local:9080")


async def test_websockets_pass_rules() -> None:
    async with (
        called(RULES, "app") as mesh,
        mesh.session.ws_connect(f"http://127.0.0.1:{mesh.ports['app']}/old") as socket,
    ):
        await socket.send_str("hello")
        assert await socket.receive_str() == "app:hello"


@pytest.mark.parametrize("path", ["app:9080", "elsewhere.example:443"])
async def test_connect_is_no_request_to_a_service(path: str) -> None:
    """Only an HTTP proxy opens tunnels (`test_core_protocols`)."""
    async with called(RULES, "app") as mesh:
        answer = await raw(mesh.ports["app"], f"CONNECT {path} HTTP/1.1\nHost: {path}\n\n")
        assert not mesh.backends["app"].seen
    assert answer.split()[1][0] == "4"


async def test_names_of_headers_reach_the_application_in_lower_case_as_through_istio() -> None:
    seen: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nX-From-Server: Yes\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    entry = """
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: plain, namespace: default}
spec: {hosts: [plain.example], resolution: STATIC, endpoints: [{address: 127.0.0.1, ports: {http: %d}}],
  ports: [{number: 80, name: http, protocol: HTTP}]}
"""
    async with server, called(entry % server.sockets[0].getsockname()[1], "app") as mesh:
        answer = await raw(mesh.http_proxy, "GET http://plain.example/ HTTP/1.1\nX-Mixed-Case: Yes\n\n")
    assert "x-from-server: Yes" in answer
    assert "x-mixed-case: Yes" in seen[0]
