"""JWT-SVIDs (JWT-SVID specification; RFC 7515, 7518, 7519): signed, and verified against a trust bundle.

Tokens come from strangers. Every text gives either the claims of a valid token or an `InvalidToken`.
"""

import base64
import binascii
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from marline.api.security.jwks import MalformedKeys, read_object
from marline.identity.errors import InvalidSpiffeId, InvalidToken
from marline.identity.spiffe import SpiffeId, parse

MAX_TOKEN_BYTES: Final = 16 * 1024
LEEWAY_SECONDS: Final = 10.0
"""How far clocks may be apart."""
_TYPES: Final = (None, "JWT", "JOSE")
_LARGEST_NUMBER: Final = 2**53
"""Beyond it a number in JSON is not certain to mean the same to everybody (RFC 8259, section 6)."""
_ES: Final[Mapping[str, tuple[str, Any]]] = {
    "ES256": ("secp256r1", hashes.SHA256),
    "ES384": ("secp384r1", hashes.SHA384),
    "ES512": ("secp521r1", hashes.SHA512),
}
_RSA: Final[Mapping[str, Any]] = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class Verified:
    """What a valid token says."""

    spiffe_id: SpiffeId
    claims: Mapping[str, Any]


def encode(octets: bytes) -> str:
    """base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Raises `ValueError`."""
    octets = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if encode(octets) != text:
        raise ValueError("not in the one form that base64url has")
    return octets


def sign(
    key: ec.EllipticCurvePrivateKey,
    key_id: str,
    spiffe_id: SpiffeId,
    audience: Collection[str],
    now: float,
    expires: float,
) -> str:
    """A token of this identity for these audiences, by ES256."""
    header = {"alg": "ES256", "kid": key_id, "typ": "JWT"}
    claims = {"aud": list(audience), "exp": int(expires), "iat": int(now), "sub": str(spiffe_id)}
    parts = (encode(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    signed = ".".join(parts)
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{encode(r.to_bytes(32) + s.to_bytes(32))}"


def trust_domain_of(token: str) -> str:
    """Of the identity that a token claims, which is not verified. Raises `InvalidToken`."""
    return _subject(_read(token).claims).trust_domain


def verify(token: str, keys: Mapping[str, PublicKey], audience: str, now: float) -> Verified:
    """What a token says, if it is for this audience, one of the keys (by ID) has signed it, and it is valid
    now. The keys are those of the trust domain that `trust_domain_of` names. Raises `InvalidToken`."""
    read = _read(token)
    spiffe_id = _subject(read.claims)
    key = keys.get(read.key_id)
    if key is None:
        raise InvalidToken(f"no key {read.key_id[:100]!r} is in the bundle of {spiffe_id.trust_domain}")
    if not _is_signed(read, key):
        raise InvalidToken("the signature is wrong")
    _check_times(read.claims, now)
    if audience not in _audience(read.claims):
        raise InvalidToken(f"it is not for the audience {audience[:100]!r}")
    return Verified(spiffe_id, read.claims)


@dataclass(frozen=True, slots=True)
class _Token:
    algorithm: str
    key_id: str
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


def _read(token: str) -> _Token:
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidToken(f"it is longer than {MAX_TOKEN_BYTES} bytes")
    parts = token.split(".")
    if len(parts) != 3 or not token.isascii():
        raise InvalidToken("it has not the three parts of a JWS in compact form")
    try:
        header, claims = (read_object(decode(part)) for part in parts[:2])
        signature = decode(parts[2])
    except MalformedKeys as error:
        raise InvalidToken(str(error)) from error
    except (ValueError, binascii.Error) as error:
        raise InvalidToken("a part of it is not base64url") from error
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or not _is_known(algorithm):
        raise InvalidToken(f"the algorithm {str(algorithm)[:40]!r} is not one for JWT-SVIDs")
    if not isinstance(key_id, str) or not key_id:
        raise InvalidToken("its header names no key (kid)")
    if header.get("typ") not in _TYPES:
        raise InvalidToken("its type is neither JWT nor JOSE")
    if "crit" in header:
        raise InvalidToken("its header has extensions that must be understood (crit), and none is")
    if not _is_exact(claims):
        raise InvalidToken("it has a number that is too large")
    return _Token(algorithm, key_id, claims, f"{parts[0]}.{parts[1]}".encode(), signature)


def _is_known(algorithm: str) -> bool:
    return algorithm in _ES or (algorithm[:2] in ("RS", "PS") and algorithm[2:] in _RSA)


def _is_exact(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_exact(item) for item in value.values())
    if isinstance(value, list):
        return all(_is_exact(item) for item in value)
    return not isinstance(value, int | float) or abs(value) <= _LARGEST_NUMBER


def _subject(claims: Mapping[str, Any]) -> SpiffeId:
    subject = claims.get("sub")
    if not isinstance(subject, str):
        raise InvalidToken("it names no identity (sub)")
    try:
        return parse(subject)
    except (InvalidSpiffeId, UnicodeError) as error:
        raise InvalidToken(f"its sub is not a SPIFFE ID: {subject[:100]!r}") from error


def _audience(claims: Mapping[str, Any]) -> list[Any]:
    audience = claims.get("aud")
    return audience if isinstance(audience, list) else [audience]


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    expires: Any = claims.get("exp")
    starts: Any = claims.get("nbf")
    if not _is_number(expires):
        raise InvalidToken("it does not say when it expires (exp)")
    if now > expires + LEEWAY_SECONDS:
        raise InvalidToken("it has expired")
    if starts is not None and (not _is_number(starts) or now < starts - LEEWAY_SECONDS):
        raise InvalidToken("it is not valid yet (nbf)")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_signed(token: _Token, key: PublicKey) -> bool:
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            return _is_signed_by_curve(token, key)
        return _is_signed_by_rsa(token, key)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False


def _is_signed_by_curve(token: _Token, key: ec.EllipticCurvePublicKey) -> bool:
    curve, digest = _ES.get(token.algorithm, ("", None))
    octets = (key.curve.key_size + 7) // 8
    if curve != key.curve.name or len(token.signature) != 2 * octets:
        return False
    r, s = (int.from_bytes(part) for part in (token.signature[:octets], token.signature[octets:]))
    key.verify(encode_dss_signature(r, s), token.signed, ec.ECDSA(digest()))
    return True


def _is_signed_by_rsa(token: _Token, key: rsa.RSAPublicKey) -> bool:
    if token.algorithm[:2] not in ("RS", "PS"):
        return False
    digest = _RSA[token.algorithm[2:]]()
    salted = padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
    how = salted if token.algorithm.startswith("PS") else padding.PKCS1v15()
    key.verify(token.signature, token.signed, how, digest)
    return True
