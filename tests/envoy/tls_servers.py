"""HTTPS servers of tests, a CA that signs for them, and what they saw of their clients."""

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    certificate: bytes
    key: bytes
    serial: int

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        paths = directory / f"{name}.pem", directory / f"{name}.key"
        paths[0].write_bytes(self.certificate)
        paths[1].write_bytes(self.key)
        return paths


class WebAuthority:
    """A CA for one test."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _common_name("authority")
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        made = self._builder(self._name, self._key.public_key())
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        signed = made.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())
        self.certificate = signed.public_bytes(_PEM)

    def _builder(self, subject: x509.Name, public: Any) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder(self._name, subject, public, x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(hours=1))
        )

    def issue(self, name: str, *more: str, uri: str = "") -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(item) for item in (name, *more)]
        if uri:
            names.append(x509.UniformResourceIdentifier(uri))
        named = x509.SubjectAlternativeName(names)
        made = self._builder(_common_name(name), key.public_key()).add_extension(named, critical=False)
        signed = made.sign(self._key, hashes.SHA256())
        private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return Issued(signed.public_bytes(_PEM), private, signed.serial_number)

    def context(self) -> ssl.SSLContext:
        """For clients that trust it."""
        return ssl.create_default_context(cadata=self.certificate.decode())

    def write(self, directory: Path) -> Path:
        path = directory / "ca.pem"
        path.write_bytes(self.certificate)
        return path

    def revocations(self, *serials: int) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        made = x509.CertificateRevocationListBuilder(self._name)
        made = made.last_update(now - datetime.timedelta(minutes=1)).next_update(
            now + datetime.timedelta(hours=1)
        )
        for serial in serials:
            revoked = x509.RevokedCertificateBuilder(serial, now - datetime.timedelta(minutes=1))
            made = made.add_revoked_certificate(revoked.build())
        return made.sign(self._key, hashes.SHA256()).public_bytes(_PEM)


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@dataclass
class HttpsServer:
    """It answers every request, and notes the server name and the client's name of each connection."""

    port: int = 0
    asked_for: list[str | None] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        certificate = writer.get_extra_info("ssl_object").getpeercert() or {}
        subject = dict(pair for group in certificate.get("subject", ()) for pair in group)
        with closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            self.clients.append(subject.get("commonName", ""))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()


@asynccontextmanager
async def https_server(
    directory: Path, issued: Issued, clients: WebAuthority | None = None
) -> AsyncIterator[HttpsServer]:
    """`clients`: who must have signed what a client shows."""
    made = HttpsServer()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*issued.write(directory, "server"))
    context.sni_callback = lambda _socket, name, _context: made.asked_for.append(name)
    if clients is not None:
        context.load_verify_locations(cadata=clients.certificate.decode())
        context.verify_mode = ssl.CERT_REQUIRED
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0, ssl=context)
    async with server:
        made.port = server.sockets[0].getsockname()[1]
        yield made
