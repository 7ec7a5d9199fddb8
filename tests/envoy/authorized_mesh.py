"""Many workloads behind one real Envoy, each with AuthorizationPolicies of its own, and who calls them.

Each workload `w0`, `w1`, … is known by the label `app`. It serves requests at port 9080 and connections at
7000, as policies know them; what answers behind them are one HTTP server and one that echoes. Tokens of
`TOKENS`' issuers are verified.
"""

import asyncio
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml
from end_user_tokens import SigningKey, key_set
from harness import Envoy, run_envoy
from routing_envoy import Backend, backend
from static_mesh import free_port, mesh_authority, snapshot_of, static_config

from authorization_maker import PORTS, TOKENS
from marline.compile.authorization_logs import AUDIT_FILE
from marline.mesh.model import Capture, GatewayPort, InboundPort, Protocol, Proxy, Role, Workload
from marline.store.audit.requests import RequestEntry, written

PATIENCE = 20
KEY = SigningKey.new()
Answer = tuple[int, Mapping[str, str], str]


def authentication(namespace: str = "istio-system") -> dict[str, Any]:
    issuers = dict.fromkeys(token["iss"] for token in TOKENS)
    rules = [
        {"issuer": issuer, "jwks": key_set(KEY), "fromHeaders": [{"name": "x-token"}]} for issuer in issuers
    ]
    return {
        "apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication",
        "metadata": {"name": "tokens", "namespace": namespace}, "spec": {"jwtRules": rules},
    }  # fmt: skip


@cache
def token(claims: str) -> str:
    return KEY.token(json.loads(claims))


def _sidecar(http: int, tcp: int, namespace: str) -> dict[str, Any]:
    listeners = [
        {"port": {"number": number, "name": name, "protocol": protocol}, "defaultEndpoint": f"127.0.0.1:{to}"}
        for number, name, protocol, to in ((PORTS[0], "http", "HTTP", http), (PORTS[1], "tcp", "TCP", tcp))
    ]
    return {
        "apiVersion": "networking.istio.io/v1", "kind": "Sidecar",
        "metadata": {"name": "ports", "namespace": namespace}, "spec": {"ingress": listeners},
    }  # fmt: skip


@dataclass
class Connection:
    """One of a caller; requests go through it one after the other."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self, text: bytes) -> Answer:
        self.writer.write(text)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
        }
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return int(head[0].split()[1]), headers, body.decode()

    async def echo(self) -> bool:
        """Do some bytes come back? There are enough of them to say that they are no TLS."""
        try:
            self.writer.write(b"hello there")
            return await self.reader.read(1) == b"h"
        except (ConnectionError, ssl.SSLError):
            return False

    def close(self) -> None:
        self.writer.transport.abort()


@dataclass
class AuthorizedMesh:
    app: Backend
    envoy: Envoy
    ports: list[tuple[int, int]]
    contexts: dict[str, ssl.SSLContext] = field(default_factory=dict)

    async def connect(self, port: int, caller: str = "", server_name: str = "reviews") -> Connection:
        """Without a caller in plain text."""
        if not caller:
            return Connection(*await asyncio.open_connection("127.0.0.1", port))
        context = self.contexts.get(caller)
        if context is None:
            context = self.contexts[caller] = context_of(caller)
        return Connection(
            *await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=server_name)
        )

    async def audited(self, count: int) -> list[RequestEntry]:
        """What Envoy has written of audited requests, once there are so many."""
        file = self.envoy.directory / AUDIT_FILE
        async with asyncio.timeout(PATIENCE):
            while len(lines := file.read_bytes().splitlines()) < count:  # noqa: ASYNC110 (a process writes them)
                await asyncio.sleep(0.02)
        return [written(line) for line in lines]


def context_of(caller: str) -> ssl.SSLContext:
    """A client's side of mTLS."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.load_verify_locations(cadata=mesh_authority().pem)
    certificate, key = mesh_authority().svid(f"spiffe://{caller}")
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(key + certificate)
        file.flush()
        made.load_cert_chain(file.name)
    return made


def request_text(
    path: str,
    method: str = "GET",
    host: str = "shop.example.com",
    headers: Iterable[tuple[str, str]] = (),
    claims: Mapping[str, Any] | None = None,
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers)]
    if claims:
        lines.append(f"x-token: {token(json.dumps(claims, sort_keys=True))}")
    if method != "GET":
        lines.append("content-length: 0")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def workloads(count: int, namespace: str) -> tuple[tuple[Workload, ...], list[tuple[int, int]]]:
    taken: set[int] = set()
    while len(taken) < 2 * count:
        taken.add(free_port())
    ports = list(zip(*[iter(sorted(taken))] * 2, strict=True))
    made = (
        Workload(
            namespace, f"w{index}", labels=(("app", f"w{index}"),), address="127.0.0.1",
            inbound=(
                InboundPort("http", http, "127.0.0.1", PORTS[0], Protocol.HTTP),
                InboundPort("tcp", tcp, "127.0.0.1", PORTS[1], Protocol.TCP),
            ),
        )
        for index, (http, tcp) in enumerate(ports)
    )  # fmt: skip
    return tuple(made), ports


@asynccontextmanager
async def authorized(
    count: int, policies: Iterable[Mapping[str, Any]], *others: Mapping[str, Any], namespace: str = "shop"
) -> AsyncIterator[AuthorizedMesh]:
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(backend("app"))
        echoing = await stack.enter_async_context(echo_server())
        resources = [_sidecar(app.port, echoing, namespace), authentication(), *policies, *others]
        made, ports = workloads(count, namespace)
        proxy = Proxy("node", Role.NODE, Capture.EXPLICIT, made)
        identity = mesh_authority().svid(f"spiffe://cluster.local/ns/{namespace}/sa/default")
        snapshot = snapshot_of(yaml.dump_all(resources))
        config = {"static_resources": static_config(snapshot, proxy, identity, mesh_authority().pem)}
        envoy = await stack.enter_async_context(run_envoy(config))
        yield AuthorizedMesh(app, envoy, ports)


@asynccontextmanager
async def authorized_gateways(
    count: int, policies: Iterable[Mapping[str, Any]], namespace: str = "shop"
) -> AsyncIterator[AuthorizedMesh]:
    """As `authorized`, at gateways `w0`, `w1`, … that demand mTLS, all in one Envoy."""
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(backend("app"))
        echoing = await stack.enter_async_context(echo_server())
        made, ports = workloads(count, namespace)
        resources = [*_edge(app.port, echoing, namespace), authentication(), *policies]
        resources += [_gateway(item.name, namespace) for item in made]
        snapshot = snapshot_of(yaml.dump_all(resources))
        identity = mesh_authority().svid(f"spiffe://cluster.local/ns/{namespace}/sa/default")
        static: dict[str, dict[str, Any]] = {"clusters": {}, "listeners": {}, "secrets": {}}
        for workload, (http, tcp) in zip(made, ports, strict=True):
            mapped = (GatewayPort(PORTS[0], http), GatewayPort(PORTS[1], tcp))
            proxy = Proxy(workload.name, Role.GATEWAY, Capture.EXPLICIT, (workload,), "127.0.0.1", mapped)
            own = static_config(snapshot, proxy, identity, mesh_authority().pem)
            for kind, items in own.items():
                static[kind] |= {item["name"]: item for item in items}
        resources_of = {kind: list(items.values()) for kind, items in static.items()}
        envoy = await stack.enter_async_context(run_envoy({"static_resources": resources_of}))
        yield AuthorizedMesh(app, envoy, ports)


def _gateway(name: str, namespace: str) -> dict[str, Any]:
    tls = {"mode": "ISTIO_MUTUAL"}
    servers = [
        {"port": {"number": PORTS[0], "name": "https", "protocol": "HTTPS"}, "hosts": ["*"], "tls": tls},
        {"port": {"number": PORTS[1], "name": "tls", "protocol": "TLS"}, "hosts": ["*"], "tls": tls},
    ]
    return {
        "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "servers": servers},
    }  # fmt: skip


def _edge(http: int, tcp: int, namespace: str) -> list[dict[str, Any]]:
    """What stands behind every gateway."""
    head = {"apiVersion": "networking.istio.io/v1", "metadata": {"name": "edge", "namespace": namespace}}
    endpoint = {"address": "127.0.0.1", "ports": {"http": http, "tcp": tcp}}
    ports = [
        {"number": 80, "name": "http", "protocol": "HTTP"}, {"number": 81, "name": "tcp", "protocol": "TCP"},
    ]  # fmt: skip
    entry = {"hosts": ["app.example"], "resolution": "STATIC", "endpoints": [endpoint], "ports": ports}
    routes = [[{"destination": {"host": "app.example", "port": {"number": number}}}] for number in (80, 81)]
    rules = {
        "hosts": ["*"],
        "gateways": [f"w{index}" for index in range(200)],
        "http": [{"route": routes[0]}],
        "tcp": [{"match": [{"port": PORTS[1]}], "route": routes[1]}],
    }
    return [
        {**head, "kind": "ServiceEntry", "spec": entry},
        {**head, "kind": "VirtualService", "spec": rules},
    ]


@asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(100):
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
