"""`tcp` and `tls` rules of VirtualServices: connections that carry no readable HTTP."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from mesh_client import PORT, service, workload
from static_mesh import envoy_for, free_port, snapshot_of
from tls_servers import WebAuthority

from marline.mesh.model import Capture, Proxy, Role, Upstream, Workload


@asynccontextmanager
async def talker(name: str, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that says its name to whoever says something."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(100):
            writer.write(name.encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def connected(
    rules: str, *names: str, port: str, labels: Mapping[str, str], context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Where a client in a sidecar finds the first of the services, all of one protocol."""
    async with AsyncExitStack() as stack:
        text = rules
        for name in names:
            number = await stack.enter_async_context(talker(name, context))
            text += service(name, port) + workload(name, "v1", number, port)
        listen = free_port()
        upstreams = (Upstream(names[0], PORT, listen),)
        client = Workload("default", "client", labels=tuple(labels.items()), upstreams=upstreams)
        proxy = Proxy("client", Role.SIDECAR, Capture.EXPLICIT, (client,))
        await stack.enter_async_context(envoy_for(snapshot_of(text), proxy))
        yield listen


async def answer(port: int, context: ssl.SSLContext | None = None, sni: str = "") -> str:
    """Who answers at a port; "" if the connection is closed."""
    try:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname=sni or None
        )
        writer.write(b"hello")
        found = await asyncio.wait_for(reader.read(100), 10)
        writer.close()
    except (ConnectionError, ssl.SSLError):
        return ""
    return found.decode()


TCP = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: first, namespace: default}
spec:
  hosts: [first]
  tcp:
  - %s
    route: [{destination: {host: second}}]
"""


@pytest.mark.proves(
    "networking.VirtualServiceSpec.tcp",
    "networking.TCPRoute.match",
    "networking.TCPRoute.route",
    "networking.RouteDestination.destination",
    "networking.L4MatchAttributes.port",
    "networking.L4MatchAttributes.sourceLabels",
    "networking.L4MatchAttributes.sourceNamespace",
    "networking.L4MatchAttributes.gateways",
    "networking.L4MatchAttributes.sourceSubnet",
    "networking.L4MatchAttributes.destinationSubnets",
)
@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("match: []", "second"),
        ("match: [{port: 9080}]", "second"),
        ("match: [{port: 9081}]", "first"),
        ("match: [{sourceLabels: {app: client}}]", "second"),
        ("match: [{sourceLabels: {app: other}}]", "first"),
        ("match: [{sourceNamespace: default}]", "second"),
        ("match: [{sourceNamespace: other}]", "first"),
        ("match: [{gateways: [mesh]}]", "second"),
        ("match: [{gateways: [edge]}]", "first"),
        ("match: [{sourceSubnet: 127.0.0.0/8}]", "second"),
        ("match: [{sourceSubnet: 10.0.0.0/8}]", "first"),
        ("match: [{destinationSubnets: [10.0.0.0/8, 127.0.0.1]}]", "second"),
        ("match: [{destinationSubnets: [10.0.0.0/8]}]", "first"),
        ("match: [{port: 1}, {sourceLabels: {app: client}, gateways: [mesh]}]", "second"),
        ("match: [{sourceLabels: {app: other}, gateways: [mesh]}]", "first"),
    ],
)
async def test_connections_follow_the_first_tcp_rule_that_is_for_them(match: str, expected: str) -> None:
    labels = {"app": "client"}
    async with connected(TCP % match, "first", "second", port="tcp", labels=labels) as port:
        assert await answer(port) == expected


@pytest.mark.proves("networking.RouteDestination.weight")
async def test_connections_are_shared_by_weight() -> None:
    rules = TCP % "match: []" + "    - {destination: {host: first}, weight: 3}\n"
    rules = rules.replace("route: [{destination: {host: second}}]", "route:\n    - "
                          "{destination: {host: second}, weight: 1}")  # fmt: skip
    async with connected(rules, "first", "second", port="tcp", labels={}) as port:
        answers = [await answer(port) for _ in range(200)]
    # A quarter of 200: a standard deviation of 6, bounds of five.
    assert 20 <= answers.count("second") <= 80
    assert answers.count("first") + answers.count("second") == 200


TLS = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: first, namespace: default}
spec:
  hosts: [first, "*.example.com"]
  tls:
  - match: [{sniHosts: [two.example.com], port: 1}, {sniHosts: [two.example.com], sourceNamespace: other}]
    route: [{destination: {host: first}}]
  - match:
    - {sniHosts: [two.example.com], port: 9080, sourceLabels: {app: client}, gateways: [mesh]}
    - {sniHosts: ["*.wild.example.com"], sourceNamespace: default, destinationSubnets: [127.0.0.0/8]}
    - {sniHosts: [far.example.com], destinationSubnets: [10.0.0.0/8]}
    route: [{destination: {host: second}}]
"""


@pytest.mark.proves(
    "networking.VirtualServiceSpec.tls",
    "networking.TLSRoute.match",
    "networking.TLSRoute.route",
    "networking.TLSMatchAttributes.sniHosts",
    "networking.TLSMatchAttributes.port",
    "networking.TLSMatchAttributes.sourceLabels",
    "networking.TLSMatchAttributes.sourceNamespace",
    "networking.TLSMatchAttributes.gateways",
    "networking.TLSMatchAttributes.destinationSubnets",
)
async def test_tls_connections_follow_the_rule_for_their_server_name(tmp_path: Path) -> None:
    authority = WebAuthority()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(*authority.issue("any").write(tmp_path, "server"))
    client = ssl.create_default_context(cadata=authority.certificate.decode())
    client.check_hostname = False
    labels = {"app": "client"}
    names = ("two.example.com", "a.wild.example.com", "far.example.com", "first", "other.org")
    async with connected(TLS, "first", "second", port="tls", labels=labels, context=server) as port:
        found = {name: await answer(port, client, name) for name in names}
    assert found == {
        "two.example.com": "second",
        "a.wild.example.com": "second",
        "far.example.com": "first",
        "first": "first",
        "other.org": "first",
    }
