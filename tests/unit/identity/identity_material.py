"""Certificates, keys and requests that the tests of identity are made of."""

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from marline.identity.ca import Authority, pem
from marline.identity.certificates import Validity, root_certificate
from marline.identity.svid import make_key

NOW = 1_790_000_000.0
TRUST_DOMAIN = "cluster.local"
DAY = 86400.0


def self_signed_authority() -> Authority:
    """The cheapest authority: a root that signs itself."""
    key = make_key()
    root = root_certificate(key, TRUST_DOMAIN, Validity(NOW - DAY, NOW + 30 * DAY))
    return Authority(root, key, (), (root,))


def csr_of(key: Any, digest: Any = hashes.SHA256(), **asked: str) -> str:  # noqa: B008
    """A request; `asked`: what its sender would like to be called."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, asked.get("name", "anyone"))])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if "uri" in asked:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(asked["uri"])])
        builder = builder.add_extension(names, critical=True)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    made = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else digest)
    return made.public_bytes(serialization.Encoding.PEM).decode()


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@dataclass
class Made:
    """An authority certificate of a test's own making."""

    certificate: x509.Certificate
    key: Any

    @property
    def key_pem(self) -> str:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()


def make_authority(
    name: str,
    issuer: Made | None = None,
    *,
    ca: bool = True,
    path_length: int | None = None,
    starts: float = NOW - DAY,
    ends: float = NOW + 30 * DAY,
    key: Any = None,
    signs: bool = True,
    constraints: x509.NameConstraints | None = None,
    uri: str = "",
) -> Made:
    key = key or ec.generate_private_key(ec.SECP256R1())
    own = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(not signs, False, False, False, False, signs, signs, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(own)
        .issuer_name(issuer.certificate.subject if issuer else own)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime.fromtimestamp(starts, datetime.UTC))
        .not_valid_after(datetime.datetime.fromtimestamp(ends, datetime.UTC))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length if ca else None), critical=True)
        .add_extension(usage, critical=True)
    )
    if constraints:
        builder = builder.add_extension(constraints, critical=True)
    if uri:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        builder = builder.add_extension(names, critical=False)
    return Made(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def write_plugin(
    directory: Path, signing: Made, roots: list[Made], chain: list[Made], key_pem: str = ""
) -> Path:
    """The four files of a plugged-in authority."""
    directory.mkdir(exist_ok=True)
    (directory / "ca-cert.pem").write_text(pem(signing.certificate))
    (directory / "ca-key.pem").write_text(key_pem or signing.key_pem)
    (directory / "root-cert.pem").write_text(pem(*(item.certificate for item in roots)))
    if chain:
        (directory / "cert-chain.pem").write_text(pem(*(item.certificate for item in chain)))
    return directory
