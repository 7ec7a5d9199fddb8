"""JSON Web Key Sets: the public keys that tokens are verified with (RFC 7517, 7518, 8037).

Key sets come from strangers, so they are read strictly: a bounded text, no name twice, and of each key only
what its type defines, with values that its type allows. What Envoy gets is written anew from that. A key that
is of no use here (of an unknown type, for encryption) is passed over, as RFC 7517 (section 5) asks.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

MAX_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 100
_MAX_DEPTH: Final = 16
_RSA_BITS: Final = range(2048, 8193)
"""Shorter keys can be broken (NIST SP 800-131A); longer ones cost too much to verify with."""
_RSA_ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_MAX_TEXT: Final = 1024
"""Of a key's ID."""


@dataclass(frozen=True, slots=True)
class _Curve:
    """y² = x³ - 3x + b over the integers modulo p (FIPS 186-4, appendix D)."""

    algorithm: str
    p: int
    b: int

    @property
    def octets(self) -> int:
        return (self.p.bit_length() + 7) // 8

    def has(self, x: int, y: int) -> bool:
        return x < self.p and y < self.p and (y * y - (x * x * x - 3 * x + self.b)) % self.p == 0


_CURVES: Final[Mapping[str, _Curve]] = {
    "P-256": _Curve(
        "ES256",
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    ),
    "P-384": _Curve(
        "ES384",
        2**384 - 2**128 - 2**96 + 2**32 - 1,
        0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
    ),
    "P-521": _Curve(
        "ES512",
        2**521 - 1,
        0x0051953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109E156193951EC7E937B1652C0BD3BB1BF073573DF883D2C34F1EF451FD46B503F00,
    ),
}
_ED25519_OCTETS: Final = 32


class MalformedKeys(ValueError):
    """No key set, or one without a key that can be used; the message says what is wrong, and where."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of a document."""

    document: str
    """The keys alone, as a JSON Web Key Set."""
    faults: tuple[str, ...] = ()
    """What is wrong with keys that were left out."""


def read_keys(text: str | bytes) -> KeySet:
    """The keys that are fit to verify signatures with. Raises `MalformedKeys` if there is none."""
    keys = _keys(text)
    usable: list[dict[str, str]] = []
    faults: list[str] = []
    for index, key in enumerate(keys):
        try:
            made = _read(key)
        except MalformedKeys as error:
            faults.append(f"keys[{index}]: {error}")
            continue
        if made is not None:
            usable.append(made)
    if not usable:
        raise MalformedKeys("; ".join(faults[:3]) or "has no key of type RSA, EC or OKP for signatures")
    document = json.dumps({"keys": usable}, separators=(",", ":"), sort_keys=True)
    return KeySet(document, tuple(faults))


def _keys(text: str | bytes) -> list[Any]:
    found = read_object(text).get("keys")
    if not isinstance(found, list):
        raise MalformedKeys("is no JSON Web Key Set: expected an object with the list 'keys'")
    if len(found) > MAX_KEYS:
        raise MalformedKeys(f"has {len(found)} keys; expected at most {MAX_KEYS}")
    return found


def read_object(text: str | bytes) -> dict[str, Any]:
    """A JSON object of bounded size and depth in which no name is there twice. Raises `MalformedKeys`."""
    if len(text) > MAX_BYTES:
        raise MalformedKeys(f"is longer than {MAX_BYTES // 1024} KiB")
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        found = json.loads(decoded, object_pairs_hook=_once, parse_constant=_no_constant)
    except MalformedKeys:
        raise
    except RecursionError as error:
        raise MalformedKeys("is nested too deeply") from error
    except ValueError as error:
        raise MalformedKeys(f"is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise MalformedKeys(f"expected a JSON object, found {type(found).__name__}")
    if _is_deep(found, _MAX_DEPTH):
        raise MalformedKeys("is nested too deeply")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in made if names.count(name) > 1)
        raise MalformedKeys(f"has the name {twice[:40]!r} twice in one object")
    return made


def _no_constant(name: str) -> Any:
    raise MalformedKeys(f"is not JSON: {name} is no number")


def _is_deep(value: Any, left: int) -> bool:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return left < 0 or any(_is_deep(item, left - 1) for item in items)


def _read(key: Any) -> dict[str, str] | None:
    """A key with only what it needs; None if it is of no use. Raises `MalformedKeys`."""
    if not isinstance(key, dict):
        raise MalformedKeys(f"expected an object, found {type(key).__name__}")
    kind = _text(key, "kty")
    if kind not in _READERS or _text(key, "use", "sig") != "sig" or not _may_verify(key):
        return None
    made = {"kty": kind, **_READERS[kind](key)}
    if key_id := _text(key, "kid", ""):
        made["kid"] = key_id
    return made


def _may_verify(key: dict[str, Any]) -> bool:
    operations = key.get("key_ops")
    return operations is None or (isinstance(operations, list) and "verify" in operations)


def _text(key: dict[str, Any], name: str, default: str | None = None) -> str:
    value = key.get(name, default)
    if not isinstance(value, str):
        raise MalformedKeys(f"{name} is missing" if value is None else f"{name} is no text")
    if len(value) > _MAX_TEXT:
        raise MalformedKeys(f"{name} is longer than {_MAX_TEXT} characters")
    return value


def _octets(key: dict[str, Any], name: str) -> bytes:
    value = key.get(name)
    if not isinstance(value, str) or not value:
        raise MalformedKeys(f"{name} is missing" if value is None else f"{name} is no text")
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedKeys(f"{name} is not base64url") from error


def _algorithm(key: dict[str, Any], *known: str) -> dict[str, str]:
    """The only algorithm that a key may be used with, if it names one."""
    named = _text(key, "alg", "")
    if named and named not in known:
        raise MalformedKeys(f"alg {named[:40]!r} is not for this key; expected {' or '.join(sorted(known))}")
    return {"alg": named} if named else {}


def _rsa(key: dict[str, Any]) -> dict[str, str]:
    modulus, exponent = (int.from_bytes(_octets(key, name)) for name in ("n", "e"))
    if modulus.bit_length() not in _RSA_BITS:
        bits = f"{_RSA_BITS.start} to {_RSA_BITS.stop - 1} bits"
        raise MalformedKeys(f"an RSA key of {modulus.bit_length()} bits; expected {bits}")
    if not modulus % 2 or not exponent % 2 or not 3 <= exponent < 2**33:
        raise MalformedKeys("n and e are no RSA key: both are odd, and e is 3 or more and less than 2^33")
    return {"n": _encoded(modulus), "e": _encoded(exponent), **_algorithm(key, *_RSA_ALGORITHMS)}


def _ec(key: dict[str, Any]) -> dict[str, str]:
    name = _text(key, "crv")
    curve = _CURVES.get(name)
    if curve is None:
        raise MalformedKeys(f"crv {name[:40]!r} is not known; expected {', '.join(_CURVES)}")
    x, y = (int.from_bytes(_octets(key, axis)) for axis in ("x", "y"))
    if not curve.has(x, y):
        raise MalformedKeys(f"x and y are no point of {name}")
    point = {"x": _encoded(x, curve.octets), "y": _encoded(y, curve.octets)}
    return {"crv": name, **point, **_algorithm(key, curve.algorithm)}


def _okp(key: dict[str, Any]) -> dict[str, str]:
    name = _text(key, "crv")
    if name != "Ed25519":
        raise MalformedKeys(f"crv {name[:40]!r} is not known; expected Ed25519")
    x = _octets(key, "x")
    if len(x) != _ED25519_OCTETS:
        raise MalformedKeys(f"x has {len(x)} bytes; expected {_ED25519_OCTETS}")
    return {"crv": name, "x": _base64url(x), **_algorithm(key, "EdDSA")}


_READERS: Final = {"RSA": _rsa, "EC": _ec, "OKP": _okp}


def _encoded(number: int, octets: int = 0) -> str:
    return _base64url(number.to_bytes(octets or (number.bit_length() + 7) // 8))


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
