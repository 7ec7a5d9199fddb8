"""Whether certificates and a key make an authority whose SVIDs a peer will accept (RFC 5280, section 6)."""

from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from marline.identity.ca import Authority
from marline.identity.certificates import SigningKey
from marline.identity.errors import InvalidAuthority
from marline.identity.svid import issued_by

_MAX_FILE_BYTES: Final = 256 * 1024
_MIN_RSA_BITS: Final = 2048
_Kind = TypeVar("_Kind", bound=x509.ExtensionType)
_CURVES: Final = ("secp256r1", "secp384r1")


def read_text(path: Path) -> str:
    """A PEM file. Raises `InvalidAuthority`."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InvalidAuthority(str(path), f"cannot be read: {error.strerror}") from error
    if len(content) > _MAX_FILE_BYTES:
        raise InvalidAuthority(str(path), f"is longer than {_MAX_FILE_BYTES} bytes")
    return content.decode(errors="replace")


def read_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """One or more certificates. Raises `InvalidAuthority`."""
    try:
        return tuple(x509.load_pem_x509_certificates(read_text(path).encode()))
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise InvalidAuthority(str(path), "has no certificate in PEM form that can be read") from error


def read_key(path: Path) -> SigningKey:
    """A private key without password. Raises `InvalidAuthority`."""
    try:
        key = serialization.load_pem_private_key(read_text(path).encode(), password=None)
    except TypeError as error:
        raise InvalidAuthority(str(path), "is encrypted; the key must be given without password") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidAuthority(str(path), "has no private key in PEM form that can be read") from error
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return key
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _MIN_RSA_BITS:
        return key
    raise InvalidAuthority(str(path), f"the key must be P-256, P-384, or RSA of {_MIN_RSA_BITS} bits or more")


def check_key_belongs(path: Path, key: SigningKey, certificate: x509.Certificate) -> None:
    """Raises `InvalidAuthority` unless the key is the certificate's."""
    if key.public_key() != certificate.public_key():
        raise InvalidAuthority(str(path), f"is not the key of the certificate {_name(certificate)}")


def check_authority(path: Path, certificate: x509.Certificate, below: int, now: float) -> None:
    """That a certificate may sign others and is valid now. `below`: how many authorities are between it
    and a workload. Raises `InvalidAuthority`."""
    fault = _authority_fault(certificate, below) or _time_fault(certificate, now)
    if fault:
        raise InvalidAuthority(str(path), f"the certificate {_name(certificate)} {fault}")


def _authority_fault(certificate: x509.Certificate, below: int) -> str:
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        return "is not an authority's (basicConstraints CA:TRUE is missing)"
    if constraints.path_length is not None and constraints.path_length < below:
        return f"allows {constraints.path_length} authorities below it, and there are {below}"
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        return "may not sign certificates (its keyUsage has no keyCertSign)"
    return ""


def _time_fault(certificate: x509.Certificate, now: float) -> str:
    if now >= certificate.not_valid_after_utc.timestamp():
        return f"expired at {certificate.not_valid_after_utc}"
    if now < certificate.not_valid_before_utc.timestamp():
        return f"is not valid before {certificate.not_valid_before_utc}"
    return ""


def check_names(path: Path, certificate: x509.Certificate, trust_domain: str) -> None:
    """That the certificate may stand above identities of this trust domain: by its own SPIFFE ID, if it has
    one (X509-SVID, section 3.2), and by its name constraints. Raises `InvalidAuthority`."""
    names = _extension(certificate, x509.SubjectAlternativeName)
    for uri in names.get_values_for_type(x509.UniformResourceIdentifier) if names else ():
        if uri.startswith("spiffe://") and uri != f"spiffe://{trust_domain}":
            reason = (
                f"the certificate {_name(certificate)} is for {uri}, and the trust domain is {trust_domain}"
            )
            raise InvalidAuthority(str(path), reason)
    constraints = _extension(certificate, x509.NameConstraints)
    if constraints is None:
        return
    permitted, excluded = (_uris(constraints.permitted_subtrees), _uris(constraints.excluded_subtrees))
    allowed = not permitted or any(_within(trust_domain, item) for item in permitted)
    if not allowed or any(_within(trust_domain, item) for item in excluded):
        reason = f"the name constraints of {_name(certificate)} do not allow the trust domain {trust_domain}"
        raise InvalidAuthority(str(path), reason)


def _uris(trees: list[x509.GeneralName] | None) -> list[str]:
    return [item.value for item in trees or [] if isinstance(item, x509.UniformResourceIdentifier)]


def _within(host: str, constraint: str) -> bool:
    """RFC 5280, section 4.2.1.10: a leading dot means any host below, else exactly that host."""
    return host.endswith(constraint) if constraint.startswith(".") else host == constraint


def find_chain(
    path: Path,
    certificate: x509.Certificate,
    others: tuple[x509.Certificate, ...],
    roots: tuple[x509.Certificate, ...],
    now: float,
) -> tuple[x509.Certificate, ...]:
    """The way from a signing certificate to a root, without the root. Raises `InvalidAuthority`."""
    check_authority(path, certificate, 0, now)
    chain: list[x509.Certificate] = []
    current = certificate
    while current not in roots:
        chain.append(current)
        issuer = _issuer_of(current, (*roots, *(item for item in others if item not in chain)))
        if issuer is None:
            reason = f"nothing leads from {_name(current)} to a root; its issuer is missing"
            raise InvalidAuthority(str(path), reason)
        check_authority(path, issuer, len(chain), now)
        current = issuer
    return tuple(chain)


def _issuer_of(
    certificate: x509.Certificate, candidates: tuple[x509.Certificate, ...]
) -> x509.Certificate | None:
    return next((item for item in candidates if issued_by(certificate, item)), None)


def made_authority(
    certificate_path: Path,
    certificate: x509.Certificate,
    key: SigningKey,
    others: tuple[x509.Certificate, ...],
    roots: tuple[x509.Certificate, ...],
    trust_domain: str,
    now: float,
) -> Authority:
    """An authority of which everything has been checked. Raises `InvalidAuthority`."""
    chain = find_chain(certificate_path, certificate, others, roots, now)
    for item in (certificate, *chain, *roots):
        check_names(certificate_path, item, trust_domain)
    return Authority(certificate, key, chain, roots)


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or f"with serial number {certificate.serial_number:x}"


def _extension(certificate: x509.Certificate, kind: type[_Kind]) -> _Kind | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
