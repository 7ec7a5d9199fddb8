"""Tokens of end users, and the key sets that they are verified with: a small issuer (RFC 7515 to 7518)."""

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
CURVE_NAMES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
ALGORITHMS = (*RSA, *CURVES, "EdDSA")


@dataclass(frozen=True)
class SigningKey:
    """A key, the algorithm that it is used with, and its ID."""

    algorithm: str
    key: Any
    key_id: str = ""

    @classmethod
    def new(cls, algorithm: str = "ES256", key_id: str = "", bits: int = 2048) -> "SigningKey":
        if algorithm in CURVES:
            return cls(algorithm, ec.generate_private_key(CURVES[algorithm]), key_id)
        if algorithm == "EdDSA":
            return cls(algorithm, ed25519.Ed25519PrivateKey.generate(), key_id)
        return cls(algorithm, rsa.generate_private_key(65537, bits), key_id)

    def public(self, **more: Any) -> dict[str, Any]:
        """As a JSON Web Key."""
        named = {"kid": self.key_id} if self.key_id else {}
        return {**_numbers(self.algorithm, self.key.public_key()), **named, **more}

    def token(self, claims: Mapping[str, Any] | None = None, **more: Any) -> str:
        """Signed, and valid for an hour unless the claims say otherwise. `more` stands in the header."""
        body = {"iss": "issuer", "sub": "ann", "exp": int(time.time()) + 3600, **(claims or {})}
        head = {"alg": self.algorithm, **({"kid": self.key_id} if self.key_id else {}), **more}
        signed = f"{_part(head)}.{_part(body)}"
        return f"{signed}.{base64url(_sign(self.algorithm, self.key, signed.encode()))}"


def key_set(*keys: SigningKey | Mapping[str, Any]) -> str:
    """A JSON Web Key Set."""
    return json.dumps({"keys": [key.public() if isinstance(key, SigningKey) else key for key in keys]})


def token_policy(
    rules: list[dict[str, Any]], name: str = "own", namespace: str = "default", **spec: Any
) -> str:
    """A RequestAuthentication with these rules."""
    head = {"apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication"}
    metadata = {"name": name, "namespace": namespace}
    return f"\n---\n{json.dumps({**head, 'metadata': metadata, 'spec': {**spec, 'jwtRules': rules}})}\n"


def bearer(token: str) -> dict[str, str]:
    """The header with a token."""
    return {"authorization": f"Bearer {token}"}


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _part(value: Mapping[str, Any]) -> str:
    return base64url(json.dumps(value).encode())


def _number(value: int, octets: int = 0) -> str:
    return base64url(value.to_bytes(octets or (value.bit_length() + 7) // 8))


def _numbers(algorithm: str, key: Any) -> dict[str, str]:
    if algorithm == "EdDSA":
        return {"kty": "OKP", "crv": "Ed25519", "x": base64url(key.public_bytes_raw())}
    numbers = key.public_numbers()
    if algorithm in CURVES:
        octets = (CURVES[algorithm].key_size + 7) // 8
        point = {"x": _number(numbers.x, octets), "y": _number(numbers.y, octets)}
        return {"kty": "EC", "crv": CURVE_NAMES[algorithm], **point}
    return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}


def _sign(algorithm: str, key: Any, data: bytes) -> bytes:
    if algorithm == "EdDSA":
        return bytes(key.sign(data))
    digest = HASHES[algorithm[2:]]
    if algorithm in CURVES:
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
        octets = (CURVES[algorithm].key_size + 7) // 8
        return r.to_bytes(octets) + s.to_bytes(octets)
    if algorithm.startswith("PS"):
        salted = padding.PSS(padding.MGF1(digest), digest.digest_size)
        return bytes(key.sign(data, salted, digest))
    return bytes(key.sign(data, padding.PKCS1v15(), digest))
