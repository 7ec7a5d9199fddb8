"""A real Envoy as a gateway: certificates by SNI, client certificates, passthrough, broken servers."""

import base64
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.protobuf import json_format
from routing_envoy import backend, cluster, run_envoy, static_gateway, virtual_service

from marline.api.core import SecretBody
from marline.api.resource import ObjectMeta, Ref, Resource
from marline.compile.gateway_server import HostTable, Kind, Server
from marline.compile.gateway_tls import (
    Termination,
    build_ca,
    build_certificate,
    ca_name,
    certificate_fault,
    certificate_name,
)
from marline.compile.routes_l4 import L4Route, WeightedTarget

GATEWAY = Ref("networking.istio.io", "Gateway", "edge", "gateway")
ROUTE = "- route: [{destination: {host: app}}]"


class Authority:
    """A CA for one test."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self._name, self._key.public_key(), None)

    def _sign(self, subject: x509.Name, public: Any, host: str | None) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder(self._name, subject, public, x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        )
        if host is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def issue(self, host: str) -> tuple[bytes, bytes]:
        """A certificate and its key, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return self._sign(subject, key.public_key(), host), pem


def secret(name: str, **data: bytes) -> Resource[SecretBody]:
    values = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()}
    return Resource("", "v1", "Secret", ObjectMeta(name=name, namespace="edge"), SecretBody(data=values))


def https(name: str, host: str, termination: Termination | None) -> Server:
    return Server(
        Kind.HTTPS, 443, GATEWAY, name, (host,), f"https.443.{name}.gateway.edge",
        (HostTable(host, (virtual_service(ROUTE),)),), termination,
    )  # fmt: skip


class TlsClient:
    """Sends requests to a gateway's TLS listener."""

    def __init__(self, port: int, authority: Authority, folder: Path) -> None:
        self._port, self._authority, self._folder = port, authority, folder

    async def get(self, host: str, client: tuple[bytes, bytes] | None = None) -> tuple[int, str]:
        context = ssl.create_default_context(cadata=self._authority.certificate.decode())
        if client is not None:
            pair = self._folder / "client.pem"
            pair.write_bytes(client[0] + client[1])
            context.load_cert_chain(pair)
        url = f"https://127.0.0.1:{self._port}/"
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, ssl=context, server_hostname=host, headers={"Host": host}) as response,
        ):
            return response.status, (await response.text())


@asynccontextmanager
async def gateway(
    servers: list[Server], secrets: list[Any], clusters: dict[str, list[int]]
) -> AsyncIterator[int]:
    static = {
        "listeners": [static_gateway(servers)],
        "secrets": [json_format.MessageToDict(item) for item in secrets],
        "clusters": [cluster(name, ports) for name, ports in clusters.items()],
    }
    async with run_envoy(static) as envoy:
        yield envoy.ports["gateway"]


def certificate(authority: Authority, name: str, host: str) -> tuple[str, Any]:
    pair = authority.issue(host)
    resource = secret(name, tls_crt=pair[0], tls_key=pair[1])
    assert certificate_fault(resource) == ""
    sds_name = certificate_name("edge", name)
    return sds_name, build_certificate(sds_name, resource)


async def test_each_server_has_its_certificate_and_a_broken_one_refuses(tmp_path: Path) -> None:
    authority = Authority("test")
    one, one_secret = certificate(authority, "one", "one.example")
    two, two_secret = certificate(authority, "two", "*.two.example")
    servers = [
        https("one", "one.example", Termination((one,))),
        https("two", "*.two.example", Termination((two,))),
        https("broken", "broken.example", None),
    ]
    async with (
        backend("app") as app,
        gateway(servers, [one_secret, two_secret], {"app": [app.port]}) as port,
    ):
        client = TlsClient(port, authority, tmp_path)
        assert (await client.get("one.example"))[0] == 200
        assert (await client.get("a.two.example"))[0] == 200
        for refused in ("broken.example", "unknown.example"):
            with pytest.raises(aiohttp.ClientConnectionError):
                await client.get(refused)


async def test_mutual_tls_wants_a_certificate_of_the_named_authority(tmp_path: Path) -> None:
    authority, clients, strangers = Authority("server"), Authority("clients"), Authority("strangers")
    name, made = certificate(authority, "one", "one.example")
    other, other_made = certificate(authority, "other", "one.example.org")
    ca = ca_name("edge", "one")
    ca_secret = build_ca(ca, secret("one-cacert", ca_crt=clients.certificate))
    servers = [
        https("one", "one.example", Termination((name,), ca, ("friend.example",))),
        https("any", "one.example.org", Termination((other,), ca)),
    ]
    secrets = [made, other_made, ca_secret]
    async with backend("app") as app, gateway(servers, secrets, {"app": [app.port]}) as port:
        client = TlsClient(port, authority, tmp_path)
        status, body = await client.get("one.example", clients.issue("friend.example"))
        assert status == 200
        assert "dns=friend.example" in body.lower()
        for refused in (None, strangers.issue("friend.example"), clients.issue("foe.example")):
            with pytest.raises(aiohttp.ClientError):
                await client.get("one.example", refused)
        assert (await client.get("one.example.org", clients.issue("foe.example")))[0] == 200
        for refused in (None, strangers.issue("friend.example")):
            with pytest.raises(aiohttp.ClientError):
                await client.get("one.example.org", refused)


@asynccontextmanager
async def tls_backend(authority: Authority, host: str, folder: Path) -> AsyncIterator[int]:
    pair = folder / "server.pem"
    pair.write_bytes(b"".join(authority.issue(host)))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="own certificate")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_passthrough_forwards_by_sni_without_reading(tmp_path: Path) -> None:
    authority = Authority("backend")
    routes = (L4Route((WeightedTarget("raw", 1),), ("raw.example",)),)
    servers = [Server(Kind.PASSTHROUGH, 443, GATEWAY, "raw", l4=routes)]
    async with (
        tls_backend(authority, "raw.example", tmp_path) as raw,
        gateway(servers, [], {"raw": [raw]}) as port,
    ):
        client = TlsClient(port, authority, tmp_path)
        assert await client.get("raw.example") == (200, "own certificate")
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.get("other.example")
