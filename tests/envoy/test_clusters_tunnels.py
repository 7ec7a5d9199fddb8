"""Bytes reach their endpoints as a rule wants it: by source address, behind a PROXY header, in a tunnel."""

import asyncio
from contextlib import AsyncExitStack, closing

import pytest
from called_service import Caller, called, rule
from tcp_servers import naming, tcp_server

TCP = "{ports: [{name: tcp, port: 9080}]}"
V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
TO_SUBSET = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec: {hosts: [reviews], tcp: [{route: [{destination: {host: reviews, subset: v1}}]}]}
"""


async def said_to(mesh: Caller, count: int) -> list[bytes]:
    """What so many connections are told."""
    said = []
    for _ in range(count):
        reader, writer = await mesh.connect()
        with closing(writer):
            said.append(await asyncio.wait_for(reader.read(), 20))
    return said


@pytest.mark.proves("networking.ConsistentHash.useSourceIp")
@pytest.mark.parametrize(
    ("policy", "answer"), [("consistentHash: {useSourceIp: true}", 1), ("simple: ROUND_ROBIN", 3)]
)
async def test_connections_of_one_address_go_to_one_endpoint(policy: str, answer: int) -> None:
    async with AsyncExitStack() as stack:
        ports = {name: await stack.enter_async_context(tcp_server(naming(name))) for name in "abc"}
        backends = {name: {"ports": {"tcp": port}} for name, port in ports.items()}
        mesh = await stack.enter_async_context(
            called(backends, rule(f"{{loadBalancer: {{{policy}}}}}"), service=TCP)
        )
        assert len(set(await said_to(mesh, 12))) == answer


async def head_of(mesh: Caller, heard: "asyncio.Queue[bytes]") -> tuple[bytes, int]:
    """What the server hears first, and the client's own port."""
    _, writer = await mesh.connect()
    with closing(writer):
        writer.write(b"hello\n")
        return await asyncio.wait_for(heard.get(), 20), writer.get_extra_info("sockname")[1]


@pytest.mark.proves("networking.TrafficPolicy.proxyProtocol", "networking.ProxyProtocol.version")
@pytest.mark.parametrize("version", ["V1", "V2"])
async def test_a_connection_begins_with_who_the_client_is(version: str) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            heard.put_nowait(await reader.readuntil(b"hello\n"))

    policy = rule(f"{{proxyProtocol: {{version: {version}}}}}")
    async with (
        tcp_server(listen) as port,
        called({"a": {"ports": {"tcp": port}}}, policy, service=TCP) as mesh,
    ):
        head, client = await head_of(mesh, heard)
    if version == "V1":
        assert head == f"PROXY TCP4 127.0.0.1 127.0.0.1 {client} {mesh.port}\r\nhello\n".encode()
    else:
        assert head.startswith(V2_SIGNATURE)
        assert head[24:26] == client.to_bytes(2, "big")
        assert head.endswith(b"hello\n")


@pytest.mark.proves("networking.TrafficPolicy.proxyProtocol")
async def test_http_connections_begin_so_too() -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            heard.put_nowait(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()

    policy = rule("{proxyProtocol: {version: V1}}")
    async with tcp_server(answer) as port, called({"a": {"ports": {"http": port}}}, policy) as mesh:
        assert (await mesh.get())[0] == 200
    assert heard.get_nowait().startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 ")


@pytest.mark.proves(
    "networking.TrafficPolicy.tunnel",
    "networking.TunnelSettings.protocol",
    "networking.TunnelSettings.targetHost",
    "networking.TunnelSettings.targetPort",
)
@pytest.mark.parametrize("level", ["rule", "subset"])
@pytest.mark.parametrize("protocol", ["CONNECT", "POST", ""])
async def test_bytes_go_through_a_tunnel_to_the_target(level: str, protocol: str) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            heard.put_nowait(head + await reader.readuntil(b"hello\n"))

    tunnel = f"{{tunnel: {{protocol: {protocol!r}, targetHost: target.example.com, targetPort: 7443}}}}"
    subset = f", subsets: [{{name: v1, labels: {{app: reviews}}, trafficPolicy: {tunnel}}}]"
    rules = (rule(tunnel),) if level == "rule" else (rule("{}", subset), TO_SUBSET)
    async with (
        tcp_server(forward) as port,
        called({"a": {"ports": {"tcp": port}}}, *rules, service=TCP) as mesh,
    ):
        head, _ = await head_of(mesh, heard)
    if protocol == "POST":
        assert head.startswith(b"POST / HTTP/1.1\r\n")
    else:
        assert head.startswith(b"CONNECT target.example.com:7443 HTTP/1.1\r\n")
    assert b"host: target.example.com:7443\r\n" in head
    assert head.endswith(b"hello\n")
