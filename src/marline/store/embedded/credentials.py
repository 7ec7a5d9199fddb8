"""Who may talk to the API server: its own certificate authority, client certificates, bearer tokens.

This authority has nothing to do with the mesh's: it signs the API server's certificate and those of its
clients (CN is the user, O are the groups; kubernetes.io, "Authenticating"). Of a token only a hash is
kept. Files with keys are made with mode 0600 and replaced atomically.
"""

import base64
import datetime
import hashlib
import hmac
import os
import secrets
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import msgspec
import yaml
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from marline.store.interface import BadRequest

_AUTHORITY_LIFE: Final = datetime.timedelta(days=3650)
_LIFE: Final = datetime.timedelta(days=365)
"""Certificates of the server and of clients are made anew at each start, and must outlive the run; a year is
what kubeadm gives them."""
_SKEW: Final = datetime.timedelta(minutes=5)
_CSR_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class User:
    name: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, in PEM."""

    certificate: bytes
    key: bytes


class _Token(msgspec.Struct, frozen=True):
    sha256: str
    user: str
    groups: tuple[str, ...]
    expires: float | None = None


class ApiCredentials:
    """The files of one API server: `ca.pem`, `ca.key`, `server.pem` (with its key), `tokens.json`."""

    def __init__(self, directory: Path, authority: KeyPair, server: Path) -> None:
        self._directory = directory
        self._authority = authority
        self._server = server
        self._tokens = _read_tokens(directory / "tokens.json")

    @classmethod
    def open(cls, directory: Path, names: Sequence[str] = ("127.0.0.1", "localhost")) -> "ApiCredentials":
        """Make what is not there yet; the server's certificate, for these names, is always new."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        certificate, key = directory / "ca.pem", directory / "ca.key"
        if certificate.exists() and key.exists():
            authority = KeyPair(certificate.read_bytes(), key.read_bytes())
        else:
            authority = _new_authority()
            write_secret(key, authority.key)
            write_secret(certificate, authority.certificate)
        pair = _issue(authority, User("marline-api-server"), _LIFE, names)
        write_secret(directory / "server.pem", pair.certificate + pair.key)
        return cls(directory, authority, directory / "server.pem")

    @property
    def authority(self) -> bytes:
        """The certificate that clients check the server's against, PEM."""
        return self._authority.certificate

    def server_context(self) -> ssl.SSLContext:
        """TLS 1.2 and up; a client certificate is optional, since a token may do instead."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._server)
        context.load_verify_locations(cadata=self._authority.certificate.decode())
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def issue(self, user: User, life: datetime.timedelta = _LIFE) -> KeyPair:
        """A client certificate."""
        return _issue(self._authority, user, life)

    def sign(self, csr_pem: str, user: User, life: datetime.timedelta) -> bytes:
        """A client certificate, PEM, for the key that a request proves to possess; nothing else is taken
        from the request. Raises `BadRequest`."""
        return _certificate(self._authority, _requested_key(csr_pem), user, life)

    def add_token(self, user: User, expires: float | None = None) -> str:
        """A new bearer token for a user; it cannot be read again."""
        token = secrets.token_urlsafe(32)
        kept = (known for known in self._tokens if known.expires is None or known.expires > time.time())
        self._tokens = (*kept, _Token(_digest(token), user.name, user.groups, expires))
        write_secret(self._directory / "tokens.json", msgspec.json.encode(self._tokens))
        return token

    def revoke_tokens(self, name: str) -> int:
        """End all tokens of a user of this name; how many there were."""
        kept = tuple(token for token in self._tokens if token.user != name)
        ended = len(self._tokens) - len(kept)
        if ended:
            self._tokens = kept
            write_secret(self._directory / "tokens.json", msgspec.json.encode(self._tokens))
        return ended

    def user_of_token(self, token: str) -> User | None:
        digest, found, now = _digest(token), None, time.time()
        for known in self._tokens:
            if hmac.compare_digest(known.sha256, digest) and (known.expires is None or known.expires > now):
                found = User(known.user, known.groups)
        return found


def user_of_certificate(peer: object) -> User | None:
    """The user that a verified client certificate names, as `ssl` reports it (`getpeercert`)."""
    if not isinstance(peer, dict) or not peer:
        return None
    pairs = [pair for rdn in peer.get("subject", ()) for pair in rdn]
    names = [value for key, value in pairs if key == "commonName"]
    groups = tuple(value for key, value in pairs if key == "organizationName")
    return User(names[0], groups) if names else None


def write_kubeconfig(
    path: Path, server: str, authority: bytes, pair: KeyPair, *, name: str = "marline"
) -> None:
    """Write `kubeconfig` to a file that only its owner may read."""
    write_secret(path, kubeconfig(server, authority, pair, name=name))


def kubeconfig(server: str, authority: bytes, pair: KeyPair, *, name: str = "marline") -> bytes:
    """A kubeconfig with everything embedded (kubernetes.io, "Organizing Cluster Access Using
    kubeconfig Files")."""

    def data(pem: bytes) -> str:
        return base64.b64encode(pem).decode()

    cluster = {"server": server, "certificate-authority-data": data(authority)}
    user = {"client-certificate-data": data(pair.certificate), "client-key-data": data(pair.key)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": f"{name}-admin", "user": user}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": f"{name}-admin", "namespace": "default"}}
        ],
        "current-context": name,
    }
    return yaml.safe_dump(config, sort_keys=False).encode()


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, atomically."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _read_tokens(path: Path) -> tuple[_Token, ...]:
    if not path.exists():
        return ()
    return msgspec.json.decode(path.read_bytes(), type=tuple[_Token, ...])


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _new_authority() -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Marline API authority")])
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def _issue(authority: KeyPair, user: User, life: datetime.timedelta, names: Sequence[str] = ()) -> KeyPair:
    """With `names` a server's certificate, else a client's."""
    key = ec.generate_private_key(ec.SECP256R1())
    return KeyPair(_certificate(authority, key.public_key(), user, life, names), _pem(key))


def _requested_key(csr_pem: str) -> ec.EllipticCurvePublicKey:
    """Raises `BadRequest`."""
    if len(csr_pem) > _CSR_BYTES:
        raise BadRequest(f"csr is longer than {_CSR_BYTES} bytes")
    try:
        csr = x509.load_pem_x509_csr(csr_pem.encode(errors="replace"))
        key, proven = csr.public_key(), csr.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise BadRequest(f"csr cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in ("secp256r1", "secp384r1"):
        raise BadRequest("csr has a key of another kind than P-256 or P-384")
    if not proven:
        raise BadRequest("csr is not signed with its own key")
    return key


def _certificate(
    authority: KeyPair,
    key: ec.EllipticCurvePublicKey,
    user: User,
    life: datetime.timedelta,
    names: Sequence[str] = (),
) -> bytes:
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    issuer_key = serialization.load_pem_private_key(authority.key, None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key of the API's certificate authority is not an EC key")
    now = datetime.datetime.now(datetime.UTC)
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in user.groups]
    subject.append(x509.NameAttribute(NameOID.COMMON_NAME, user.name))
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .issuer_name(issuer.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    if names:
        alternatives = [_alternative(name) for name in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
