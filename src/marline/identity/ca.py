"""The certificate authority: a signing request and an identity in, an X.509-SVID out.

An `Authority` is a value, made from files by `ca_home` (one's own) or `ca_plugin` (given).
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from marline.identity.certificates import (
    CLOCK_SKEW_SECONDS,
    PublicKey,
    SigningKey,
    Validity,
    moment,
    workload_certificate,
)
from marline.identity.errors import AuthorityExpired, CsrRefused
from marline.identity.spiffe import SpiffeId
from marline.identity.svid import SignedSvid

MAX_CSR_BYTES: Final = 8192
"""A request with a P-256 key has some 400 bytes; this is room enough for attributes that are ignored."""
DEFAULT_TTL_SECONDS: Final = 24 * 3600.0
_RENEW_AFTER: Final = 2 / 3
"""Part of an authority's own lifetime after which it should be replaced."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Who signs, and the way from there to the roots."""

    certificate: x509.Certificate
    key: SigningKey = field(repr=False)
    chain: tuple[x509.Certificate, ...]
    """What stands between `certificate` (included, unless it is a root itself) and a root (excluded)."""
    roots: tuple[x509.Certificate, ...]
    """The trust bundle; more than one while a mesh changes its root."""

    @property
    def bundle_pem(self) -> str:
        return pem(*self.roots)

    @property
    def validity(self) -> Validity:
        """The time for which the signing certificate and all above it are valid."""
        above = (self.certificate, *self.chain)
        return Validity(
            max(item.not_valid_before_utc.timestamp() for item in above),
            min(item.not_valid_after_utc.timestamp() for item in above),
        )

    @property
    def version(self) -> str:
        """Tells it from others by what workloads have of it: who signs, and who is trusted."""
        content = pem(self.certificate, *self.chain, *self.roots)
        return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()

    def renewal_due(self, now: float) -> bool:
        """Whether two thirds of the signing certificate's life are over."""
        own = self.validity
        return now >= own.not_before + (own.not_after - own.not_before) * _RENEW_AFTER

    def sign(self, csr_pem: str, spiffe_id: SpiffeId, ttl: float, now: float) -> SignedSvid:
        """A certificate for the request's key and this identity, for `ttl` seconds from `now` but never
        longer than the authority's own. Nothing but the key is taken from the request.

        Raises `CsrRefused`, `AuthorityExpired`.
        """
        public_key = read_csr(csr_pem)
        own = self.validity
        if not own.not_before <= now < own.not_after:
            valid = f"from {moment(own.not_before)} to {moment(own.not_after)}"
            raise AuthorityExpired(f"its certificate is valid {valid}, and it is {moment(now)}")
        validity = Validity(max(now - CLOCK_SKEW_SECONDS, own.not_before), min(now + ttl, own.not_after))
        leaf = workload_certificate(public_key, spiffe_id, self.certificate, self.key, validity)
        not_after = leaf.not_valid_after_utc.timestamp()
        return SignedSvid(pem(leaf, *self.chain), self.bundle_pem, not_after, self.version)


def read_csr(csr_pem: str) -> PublicKey:
    """The public key that a request proves to possess. Raises `CsrRefused`."""
    encoded = csr_pem.encode(errors="replace")
    if len(encoded) > MAX_CSR_BYTES:
        raise CsrRefused(f"is longer than {MAX_CSR_BYTES} bytes")
    try:
        csr = x509.load_pem_x509_csr(encoded)
        public_key = csr.public_key()
        proven = csr.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise CsrRefused(f"cannot be read: {error}") from error
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or public_key.curve.name != "secp256r1":
        raise CsrRefused("has a key of another kind than P-256")
    if not proven:
        raise CsrRefused("is not signed with its own key")
    return public_key


def pem(*certificates: x509.Certificate) -> str:
    """Certificates one after the other."""
    return "".join(item.public_bytes(serialization.Encoding.PEM).decode() for item in certificates)
