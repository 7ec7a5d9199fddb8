"""SPIFFE trust bundles as documents (SPIFFE Trust Domain and Bundle, section 4): a JSON Web Key Set with the
roots of X.509-SVIDs and the keys of JWT-SVIDs of one trust domain.

Documents come from strangers. Every text gives either a bundle or an `InvalidBundle`.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from marline.api.security.jwks import MAX_KEYS, MalformedKeys, read_keys, read_object
from marline.identity.errors import InvalidBundle
from marline.identity.jwt_svid import PublicKey, decode, encode

_X509: Final = "x509-svid"
_JWT: Final = "jwt-svid"
_CURVES: Final[Mapping[str, type[ec.EllipticCurve]]] = {
    "P-256": ec.SECP256R1,
    "P-384": ec.SECP384R1,
    "P-521": ec.SECP521R1,
}


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """What SVIDs of one trust domain are verified with."""

    trust_domain: str
    roots_pem: str = ""
    jwt_keys: str = '{"keys":[]}'
    """A JSON Web Key Set."""
    sequence: int = 0
    """Grows whenever the bundle changes (`spiffe_sequence`)."""
    refresh_hint: int = 0
    """Seconds after which it should be looked at again (`spiffe_refresh_hint`); 0: nothing is said."""

    @property
    def roots_der(self) -> bytes:
        """The roots one after the other, in ASN.1 DER, as the Workload API has them."""
        return ders(self.roots_pem)

    def public_keys(self) -> dict[str, PublicKey]:
        """The keys of JWT-SVIDs by ID."""
        keys: list[dict[str, str]] = json.loads(self.jwt_keys)["keys"]
        return {key["kid"]: _public_key(key) for key in keys}


def ders(pem: str) -> bytes:
    """Certificates from PEM to DER, one after the other."""
    loaded = x509.load_pem_x509_certificates(pem.encode()) if pem else ()
    return b"".join(item.public_bytes(serialization.Encoding.DER) for item in loaded)


def write_bundle(bundle: TrustBundle) -> str:
    """The document of a bundle."""
    keys: list[dict[str, Any]] = []
    for root in x509.load_pem_x509_certificates(bundle.roots_pem.encode()) if bundle.roots_pem else ():
        der = base64.b64encode(root.public_bytes(serialization.Encoding.DER)).decode()
        keys.append({"use": _X509, **_jwk_of(root), "x5c": [der]})
    keys += ({**key, "use": _JWT} for key in json.loads(bundle.jwt_keys)["keys"])
    document: dict[str, Any] = {"spiffe_sequence": bundle.sequence, "keys": keys}
    if bundle.refresh_hint:
        document["spiffe_refresh_hint"] = bundle.refresh_hint
    return json.dumps(document)


def read_bundle(trust_domain: str, text: str | bytes) -> TrustBundle:
    """The bundle that a document has for a trust domain. Keys for an unknown use are passed over, as the
    specification asks. Raises `InvalidBundle`."""
    try:
        document = read_object(text)
        keys = document.get("keys")
        if not isinstance(keys, list):
            raise InvalidBundle("expected an object with the list 'keys'")
        if len(keys) > MAX_KEYS:
            raise InvalidBundle(f"it has {len(keys)} keys; expected at most {MAX_KEYS}")
        roots = [_root(key, f"keys[{index}]") for index, key in enumerate(keys) if _is_for(key, _X509)]
        tokens = [key for key in keys if _is_for(key, _JWT)]
        return TrustBundle(
            trust_domain,
            "".join(roots),
            _jwt_keys(tokens),
            _number(document, "spiffe_sequence"),
            _number(document, "spiffe_refresh_hint"),
        )
    except (MalformedKeys, UnicodeError) as error:
        raise InvalidBundle(str(error)) from error


def _is_for(key: Any, use: str) -> bool:
    return isinstance(key, dict) and key.get("use") == use


def _number(document: Mapping[str, Any], name: str) -> int:
    value = document.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise InvalidBundle(f"{name} is not a whole number of 0 or more")
    return value


def _root(key: dict[str, Any], where: str) -> str:
    """The certificate of a key, which has exactly one (section 4.2.2), in PEM."""
    chain = key.get("x5c")
    if not isinstance(chain, list) or len(chain) != 1 or not isinstance(chain[0], str):
        raise InvalidBundle(f"{where}.x5c has not exactly one certificate")
    try:
        loaded = x509.load_der_x509_certificate(base64.b64decode(chain[0], validate=True))
        constraints = loaded.extensions.get_extension_for_class(x509.BasicConstraints).value
        if not isinstance(loaded.public_key(), ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            raise InvalidBundle(f"{where}.x5c has a key that is neither RSA nor of an elliptic curve")
    except (
        ValueError, TypeError, binascii.Error, UnsupportedAlgorithm, x509.InvalidVersion,
        x509.DuplicateExtension, x509.ExtensionNotFound, x509.UnsupportedGeneralNameType,
    ) as error:  # fmt: skip
        raise InvalidBundle(f"{where}.x5c is not the certificate of an authority") from error
    if not constraints.ca:
        raise InvalidBundle(f"{where}.x5c is not the certificate of an authority")
    return loaded.public_bytes(serialization.Encoding.PEM).decode()


def _jwt_keys(keys: list[dict[str, Any]]) -> str:
    if not keys:
        return '{"keys":[]}'
    read = read_keys(json.dumps({"keys": [{**key, "use": "sig"} for key in keys]}))
    found = [key for key in json.loads(read.document)["keys"] if key["kty"] in ("EC", "RSA")]
    ids = [key.get("kid") for key in found]
    if None in ids or len(set(ids)) < len(ids):
        raise InvalidBundle("its keys for JWT-SVIDs have not each an ID (kid) of their own")
    try:
        for key in found:
            _public_key(key)
    except ValueError as error:
        raise InvalidBundle("a key for JWT-SVIDs is not one") from error
    return json.dumps({"keys": found}, separators=(",", ":"), sort_keys=True)


def _public_key(key: Mapping[str, str]) -> PublicKey:
    """Raises `ValueError`."""
    if key["kty"] == "RSA":
        return rsa.RSAPublicNumbers(_integer(key["e"]), _integer(key["n"])).public_key()
    curve = _CURVES[key["crv"]]()
    return ec.EllipticCurvePublicNumbers(_integer(key["x"]), _integer(key["y"]), curve).public_key()


def _integer(text: str) -> int:
    return int.from_bytes(decode(text))


def _jwk_of(root: x509.Certificate) -> dict[str, str]:
    """A certificate's key as RFC 7517 writes it."""
    key = root.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        public = key.public_numbers()
        modulus, exponent = (
            encode(number.to_bytes((number.bit_length() + 7) // 8)) for number in (public.n, public.e)
        )
        return {"kty": "RSA", "n": modulus, "e": exponent}
    assert isinstance(key, ec.EllipticCurvePublicKey)  # noqa: S101 (`ca_checks` admits no other)
    octets, point = (key.key_size + 7) // 8, key.public_numbers()
    x, y = (encode(number.to_bytes(octets)) for number in (point.x, point.y))
    return {"kty": "EC", "crv": f"P-{key.key_size}", "x": x, "y": y}
