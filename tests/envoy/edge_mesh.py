"""A gateway's Envoy at the edge of a mesh that is given as YAML, and strangers who call it.

The Envoy gets everything over delta ADS, its own identity over SDS, as in a running mesh. Backends have no
sidecars unless a test starts some.
"""

import asyncio
import base64
import json
import re
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import yaml
from ads_mesh import ControlPlane, ads_envoy, control_plane
from edge_certificates import Pair
from harness import Envoy
from identity_mesh import new_authority
from static_mesh import free_port

from marline.api.decode import decode
from marline.api.resource import Resource
from marline.identity.ca import Authority as MeshAuthority
from marline.identity.spiffe import parse
from marline.identity.svid import key_pem, make_csr, make_key
from marline.mesh.model import Capture, GatewayPort, Proxy, Role, Workload

INGRESS_ID = "spiffe://cluster.local/ns/istio-system/sa/ingress"
PATIENCE = 20.0


def documents(text: str) -> tuple[Resource[Any], ...]:
    """Resources from YAML, in namespace `default` unless they say otherwise; earlier ones are older."""
    made = []
    for index, obj in enumerate(item for item in yaml.safe_load_all(text) if item):
        if obj["kind"] != "Namespace":
            obj["metadata"].setdefault("namespace", "default")
        obj["metadata"].setdefault("creationTimestamp", f"2026-01-01T00:00:{index:02d}Z")
        made.append(decode(obj))
    return tuple(made)


def app(name: str, backend_port: int, *, port: int = 80, protocol: str = "http") -> str:
    """A Service and its one workload, which has no sidecar."""
    return f"""
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{clusterIP: 10.96.1.{backend_port % 250 + 1}, selector: {{app: {name}}},
  ports: [{{name: {protocol}, port: {port}}}]}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: {name}-1}}
spec: {{address: 127.0.0.1, labels: {{app: {name}}}, ports: {{{protocol}: {backend_port}}}}}
"""


def gateway(servers: str, name: str = "edge", namespace: str = "default") -> str:
    return f"""
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
{servers}
"""


def https_server(host: str, tls: str) -> str:
    """A server for HTTPS on port 443."""
    port = f"{{number: 443, name: https-{host.split('.')[0].replace('*', 'any')}, protocol: HTTPS}}"
    return f"  - {{port: {port}, hosts: ['{host}'], tls: {{{tls}}}}}\n"


def route(host: str, to: str, *, gateways: str = "default/edge", namespace: str = "default") -> str:
    """A VirtualService that sends a host's requests to a Service."""
    name = host.replace("*", "any").replace(".", "-")
    return f"""
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}-to-{to}, namespace: {namespace}}}
spec: {{hosts: ["{host}"], gateways: [{gateways}], http: [{{route: [{{destination: {{host: {to}}}}}]}}]}}
"""


def tcp_route(to: str, *, port: int, host: str = "*") -> str:
    return f"""
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: tcp-{port}}}
spec: {{hosts: ["{host}"], gateways: [edge],
  tcp: [{{match: [{{port: {port}}}], route: [{{destination: {{host: {to}}}}}]}}]}}
"""


def secret(name: str, namespace: str = "istio-system", **data: bytes) -> str:
    """`tls_crt` stands for the key `tls.crt`."""
    values = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()}
    head = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}}
    return "\n---\n" + yaml.safe_dump({**head, "data": values})


def tls_secret(name: str, pair: Pair, **more: bytes) -> str:
    return secret(name, tls_crt=pair.certificate, tls_key=pair.key, **more)


class Refused(Exception):
    """The connection was closed, or the handshake failed."""


@dataclass(frozen=True)
class Answer:
    """An HTTP response, and over what it came."""

    status: int
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    certificate: bytes = b""
    """The server's, DER."""
    version: str = ""
    cipher: str = ""

    @property
    def backend(self) -> str:
        return str(self.body.get("backend", ""))


def trusting(
    authority: bytes,
    client: Pair | None = None,
    *,
    versions: tuple[ssl.TLSVersion, ssl.TLSVersion] = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3),
    ciphers: str = "",
) -> ssl.SSLContext:
    """A client that trusts an authority and shows a certificate, if it has one."""
    context = ssl.create_default_context(cadata=authority.decode())
    if ciphers:
        context.set_ciphers(ciphers)
    context.minimum_version, context.maximum_version = versions
    if client is not None:
        client.load_into(context)
    return context


async def ask(
    port: int | str,
    host: str,
    tls: ssl.SSLContext | None = None,
    *,
    target: str = "/",
    sni: str = "",
    address: str = "127.0.0.1",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request on a connection of its own, to a port or a Unix socket. Raises `Refused`."""
    named = {"server_hostname": sni or host.partition(":")[0]} if tls is not None else {}
    try:
        if isinstance(port, str):
            reader, writer = await asyncio.open_unix_connection(port)
        else:
            reader, writer = await asyncio.open_connection(address, port, ssl=tls, **named)
        try:
            lines = {"Host": host, "Connection": "close", **(headers or {})}
            head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
            writer.write(f"GET {target} HTTP/1.1\r\n{head}\r\n".encode())
            raw = await asyncio.wait_for(_response(reader), PATIENCE)
            return _answer(raw, writer.get_extra_info("ssl_object"))
        finally:
            writer.close()
    except (ssl.SSLError, OSError) as error:
        raise Refused(str(error)) from error


async def _response(reader: asyncio.StreamReader) -> bytes:
    """One response; not up to the end of the connection, which Envoy delays for a second. Nothing if the
    connection ends instead."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    fields = head.lower()
    length = re.search(rb"\r\ncontent-length: *(\d+)", fields)
    if length is not None:
        return head + await reader.readexactly(int(length[1]))
    if b"\r\ntransfer-encoding: chunked" in fields:
        return head + await reader.readuntil(b"\r\n0\r\n\r\n")
    return head + await reader.read()


def _answer(raw: bytes, connection: ssl.SSLObject | None) -> Answer:
    if not raw:
        raise Refused("the connection was closed")
    head, _, body = raw.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    found = json.loads(body[body.index("{") : body.rindex("}") + 1]) if "{" in body else {"text": body}
    made = Answer(int(first.split()[1]), headers, found)
    if connection is None:
        return made
    cipher, certificate = connection.cipher(), connection.getpeercert(binary_form=True)
    return replace(
        made,
        certificate=certificate or b"",
        version=connection.version() or "",
        cipher=cipher[0] if cipher else "",
    )


@dataclass
class Edge:
    """A running gateway."""

    plane: ControlPlane
    envoy: Envoy
    authority: MeshAuthority
    listens: dict[int, int] = field(default_factory=dict)

    def __getitem__(self, number: int) -> int:
        """Where it listens for a port of a Gateway."""
        return self.listens[number]

    async def put(self, text: str) -> None:
        """Apply, and wait until the gateway has taken it or refused it."""
        await self.plane.put(*documents(text))
        async with asyncio.timeout(PATIENCE):
            await self.plane.hub.settled(self.plane.version)

    def svid(self, spiffe_id: str) -> Pair:
        """An identity of the mesh."""
        key = make_key()
        signed = self.authority.sign(make_csr(key), parse(spiffe_id), 3600.0, time.time())
        return Pair(signed.chain_pem.encode(), key_pem(key).encode())

    def member(self, spiffe_id: str) -> ssl.SSLContext:
        """A client of the mesh. It would know servers by their SPIFFE IDs, which `ssl` does not."""
        made = trusting(self.authority.bundle_pem.encode(), self.svid(spiffe_id))
        made.check_hostname = False
        return made


@asynccontextmanager
async def edge(text: str, *ports: int, namespace: str = "istio-system", **labels: str) -> AsyncIterator[Edge]:
    """A gateway for these resources, which listens for these ports of its Gateways somewhere else."""
    listens = {number: free_port() for number in ports}
    chosen = {"istio": "ingressgateway", **labels}
    workload = Workload(namespace, "ingress-1", "ingress", labels=tuple(sorted(chosen.items())))
    mapped = tuple(GatewayPort(number, listen) for number, listen in listens.items())
    proxy = Proxy("gateway~ingress", Role.GATEWAY, Capture.EXPLICIT, (workload,), "127.0.0.1", mapped)
    async with control_plane(*documents(text)) as plane, plane.serving():
        authority = new_authority(plane.directory / "ca", time.time())
        async with ads_envoy(plane.directory, proxy, INGRESS_ID, authority) as envoy:
            async with asyncio.timeout(PATIENCE):
                await plane.hub.settled(plane.version, 1)
            yield Edge(plane, envoy, authority, listens)


async def eventually(attempt: Any, wanted: Any) -> None:
    """Until what is asked again and again is answered so: Envoy says of no listener that it serves."""
    async with asyncio.timeout(PATIENCE):
        while await _tried(attempt) != wanted:  # noqa: ASYNC110 (Envoy's state, asked for)
            await asyncio.sleep(0.05)


async def _tried(attempt: Any) -> Any:
    try:
        return await attempt()
    except Refused:
        return Refused
