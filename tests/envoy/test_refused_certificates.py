"""Certificates that are not accepted, whoever shows them: no byte gets through, and a log line says why."""

import asyncio
import datetime
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from harness import Envoy, run_envoy
from routing_envoy import backend
from static_mesh import Authority, authority, free_port, mesh_authority, snapshot_of, static_config
from test_core_mtls import (
    CLIENT_ID,
    MESH,
    PERMISSIVE,
    SERVER_ID,
    client_proxy,
    plain_text_is_refused,
    server_proxy,
)

from marline.compile.tls import mesh_sni
from marline.identity.svid import key_pem
from marline.mesh.model import Proxy

NAMES = {
    "expired": (SERVER_ID, r"certificate.has.expired"),
    "of another trust domain": ("spiffe://elsewhere/ns/default/sa/reviews", r"SAN"),
    "of another name": ("https://reviews.default", r"SAN"),
    "self-signed": (SERVER_ID, r"self.signed"),
    "of another authority": (SERVER_ID, r"unable.to.get.local.issuer|signature"),
}
STOLEN = "stolen from another service"


def certificate(kind: str, name: str) -> str:
    """A certificate of this kind and its key."""
    if kind == "of another authority":
        return "".join(authority().svid(name))
    now, key = datetime.datetime.now(datetime.UTC), ec.generate_private_key(ec.SECP256R1())
    late = datetime.timedelta(minutes=3 if kind == "expired" else -3)
    signed_by = Authority(key, mesh_authority().certificate) if kind == "self-signed" else mesh_authority()
    own = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "self")])
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(own)
        .issuer_name(own if kind == "self-signed" else signed_by.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=9))
        .not_valid_after(now - late)
        .add_extension(names, critical=True)
        .sign(signed_by.key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode() + key_pem(key)


def context(directory: Path, kind: str, name: str, side: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    file = directory / "shown.pem"
    file.write_text(certificate(kind, name))
    made = side()
    made.load_cert_chain(file)
    return made


def anyone() -> ssl.SSLContext:
    made = ssl.create_default_context()
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


async def logged(envoy: Envoy, pattern: str) -> str:
    """The first line of an Envoy's log that has this, as soon as it is there."""
    try:
        async with asyncio.timeout(15):
            while True:
                for line in envoy.log.splitlines():
                    if re.search(pattern, line):
                        return line
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{pattern} is not in the log: {envoy.log}") from None


@asynccontextmanager
async def running(proxy: Proxy, mesh: str) -> AsyncIterator[Envoy]:
    workload = proxy.workloads[0]
    identity = mesh_authority().svid(f"spiffe://cluster.local/ns/default/sa/{workload.service_account}")
    config = static_config(snapshot_of(mesh), proxy, identity, mesh_authority().pem)
    async with run_envoy({"static_resources": config}) as envoy:
        yield envoy


@pytest.mark.parametrize("protocol", ["http", "tcp"])
async def test_a_caller_is_refused_at_its_handshake(protocol: str, tmp_path: Path) -> None:
    async with backend("reviews") as app:
        port = free_port()
        mesh = MESH.format(name=protocol, port=port, account="reviews")
        async with running(server_proxy(protocol, port, app.port), mesh) as envoy:
            assert (await asked(port, context(tmp_path, "", CLIENT_ID, anyone))).startswith(b"HTTP/1.1 200")
            assert "TLS refused" not in envoy.log
            app.seen.clear()
            for kind, (name, reason) in NAMES.items():
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    await asked(port, context(tmp_path, kind, name, anyone))
                line = await logged(envoy, f"TLS refused .*{reason}")
                assert re.search(r"TLS refused \S+ 127\.0\.0\.1:\d+ 127\.0\.0\.1:\d+$", line), kind
        assert app.seen == []


@pytest.mark.parametrize("protocol", ["http", "auto"])
@pytest.mark.parametrize("mode", ["STRICT", "PERMISSIVE"])
async def test_plain_text_is_told_where_it_is_refused_only(protocol: str, mode: str, tmp_path: Path) -> None:
    async with backend("reviews") as app:
        port = free_port()
        mesh = MESH.format(name=protocol, port=port, account="reviews") + PERMISSIVE % mode
        async with running(server_proxy(protocol, port, app.port), mesh) as envoy:
            assert (await plain_text_is_refused(f"http://127.0.0.1:{port}")) is (mode == "STRICT")
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asked(port, context(tmp_path, "expired", CLIENT_ID, anyone))
            await logged(envoy, "TLS refused .*expired")
            plain = [
                line for line in envoy.log.splitlines() if "TLS refused" in line and "expired" not in line
            ]
            assert bool(plain) is (mode == "STRICT"), plain


async def asked(port: int, shown: ssl.SSLContext) -> bytes:
    name = mesh_sni("reviews.default.svc.cluster.local", 9080)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=shown, server_hostname=name)
    try:
        writer.write(b"GET / HTTP/1.1\r\nhost: reviews\r\nconnection: close\r\n\r\n")
        return await reader.read()
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("kind", [*NAMES, STOLEN])
@pytest.mark.parametrize("protocol", ["http", "tcp"])
async def test_a_server_is_not_called(kind: str, protocol: str, tmp_path: Path) -> None:
    name, reason = NAMES.get(kind, (SERVER_ID.replace("reviews", "ratings"), "SAN"))
    shown = context(tmp_path, kind, name, lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    read: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        read.append(await reader.read(1))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=shown)
    async with server:
        mesh = MESH.format(name=protocol, port=server.sockets[0].getsockname()[1], account="reviews")
        listen = free_port()
        async with running(client_proxy(listen), mesh) as envoy, aiohttp.ClientSession() as session:
            if protocol == "http":
                async with session.get(f"http://127.0.0.1:{listen}/") as response:
                    assert response.status == 503
            else:
                with pytest.raises(aiohttp.ClientError):
                    await session.get(f"http://127.0.0.1:{listen}/")
            assert re.search(reason, await logged(envoy, reason))
    assert read == []
