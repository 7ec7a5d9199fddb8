"""X.509-SVIDs as values: what an authority returns, and what a workload holds."""

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from marline.identity.errors import SignFailed
from marline.identity.spiffe import SpiffeId


@dataclass(frozen=True, slots=True)
class SignedSvid:
    """An authority's answer. Times are Unix seconds."""

    chain_pem: str
    """The workload's certificate first, then what leads to a root, without the root."""
    bundle_pem: str
    """The roots that peers of this trust domain are verified against."""
    not_after: float
    authority: str = ""
    """Its version; "" of one that tells none."""


@dataclass(frozen=True, slots=True)
class Svid:
    """A complete identity: with its private key, which is never printed."""

    spiffe_id: SpiffeId
    key_pem: str = field(repr=False)
    chain_pem: str
    bundle_pem: str
    not_after: float
    authority: str = ""
    """The version of the authority that signed it."""


def make_key() -> ec.EllipticCurvePrivateKey:
    """A new P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def make_csr(key: ec.EllipticCurvePrivateKey) -> str:
    """A signing request that proves possession of the key and asks for nothing else: the authority
    decides what stands in the certificate."""
    empty = x509.Name([])
    csr = x509.CertificateSigningRequestBuilder().subject_name(empty).sign(key, hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """PKCS #8, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def accept(key: ec.EllipticCurvePrivateKey, spiffe_id: SpiffeId, signed: SignedSvid) -> Svid:
    """The identity that this answer makes with the key, once it is certain that Envoy can use it.

    Raises `SignFailed` if the certificate is another key's or identity's, or its chain leads nowhere.
    """
    try:
        leaf, *chain = x509.load_pem_x509_certificates(signed.chain_pem.encode())
        roots = x509.load_pem_x509_certificates(signed.bundle_pem.encode())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        certified = leaf.public_key()
    except (ValueError, UnsupportedAlgorithm, x509.ExtensionNotFound, x509.InvalidVersion) as error:
        raise SignFailed(f"the answer is not a certificate chain: {error}") from error
    if certified != key.public_key():
        raise SignFailed("the certificate is for another key")
    if [name.value for name in names] != [str(spiffe_id)]:
        raise SignFailed(f"the certificate is not for {spiffe_id}")
    for subject, issuer in zip([leaf, *chain], chain, strict=False):
        if not issued_by(subject, issuer):
            raise SignFailed("the certificates of the chain do not follow one another")
    last = chain[-1] if chain else leaf
    if not any(issued_by(last, root) for root in roots):
        raise SignFailed("the chain does not lead to a root of the trust bundle")
    return Svid(
        spiffe_id, key_pem(key), signed.chain_pem, signed.bundle_pem, signed.not_after, signed.authority
    )


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether names and signature say so."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
