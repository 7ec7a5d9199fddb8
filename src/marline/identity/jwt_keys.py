"""The keys that JWT-SVIDs are signed with: made, announced, used, retired and forgotten in time.

A key is in the bundle for a while before it signs, so that whoever verifies has it by then, and stays there
until no token that it has signed can still be valid. Keys never leave the control plane.
"""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from marline.identity.errors import InvalidAuthority
from marline.identity.files import PRIVATE, locked, write_whole
from marline.identity.jwt_svid import encode
from marline.identity.svid import key_pem, make_key

KEY_SECONDS: Final = 24 * 3600.0
"""For how long one key signs."""
ANNOUNCE_SECONDS: Final = 3600.0
"""For how long it is in the bundle before; bundles are looked at again much more often."""
MAX_TOKEN_SECONDS: Final = 3600.0
"""The longest life of a token."""

_log = logging.getLogger(__name__)


class SigningKey(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """One key. Times are Unix seconds."""

    key_id: str
    pem: str
    signs_from: float
    signs_until: float

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id}, {self.signs_from}, {self.signs_until})"


class _File(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    keys: tuple[SigningKey, ...]


def advanced(
    keys: tuple[SigningKey, ...],
    now: float,
    make: Callable[[float, float], SigningKey],
    seconds: float = KEY_SECONDS,
) -> tuple[SigningKey, ...]:
    """The keys that there should be now, oldest first: one that signs, and in time its successor.

    `make` makes a key that signs from and until given times; without need for one the result equals `keys`.
    """
    kept = tuple(key for key in keys if now < key.signs_until + MAX_TOKEN_SECONDS)
    announce = min(ANNOUNCE_SECONDS, seconds / 2)
    last = max((key.signs_until for key in kept), default=0.0)
    if last <= now:  # the first one, or the first after a long sleep: nobody can have heard of it before
        return (*kept, make(now, now + seconds))
    if last - now <= announce:
        return (*kept, make(last, last + seconds))
    return kept


def signing(keys: tuple[SigningKey, ...], now: float) -> SigningKey:
    """The key whose turn it is. A clock that was set back does not leave it without one."""
    return next((key for key in keys if key.signs_from <= now < key.signs_until), keys[0])


def new_key(signs_from: float, signs_until: float) -> SigningKey:
    return SigningKey(secrets.token_urlsafe(16), key_pem(make_key()), signs_from, signs_until)


def private_key(key: SigningKey) -> ec.EllipticCurvePrivateKey:
    loaded = serialization.load_pem_private_key(key.pem.encode(), password=None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)  # noqa: S101 (`new_key` makes no other)
    return loaded


def public_jwk(key: SigningKey) -> dict[str, Any]:
    """As RFC 7517 writes it."""
    numbers = private_key(key).public_key().public_numbers()
    x, y = (encode(number.to_bytes(32)) for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "kid": key.key_id, "x": x, "y": y}


@dataclass(slots=True)
class JwtKeys:
    """The keys of one trust domain, kept in a file that only its owner may read."""

    path: Path
    seconds: float = KEY_SECONDS
    _keys: tuple[SigningKey, ...] = field(default=(), repr=False)

    def at(self, now: float) -> tuple[SigningKey, ...]:
        """The keys of the bundle now. Raises `InvalidAuthority`."""
        if self._keys and advanced(self._keys, now, _unmade, self.seconds) == self._keys:
            return self._keys
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked(self.path.with_suffix(".lock")):
                before = self._load()
                self._keys = advanced(before, now, new_key, self.seconds)
                if self._keys != before:
                    _log.info("JWT-SVIDs have %d signing keys now", len(self._keys))
                    write_whole(self.path, msgspec.json.encode(_File(self._keys)).decode(), PRIVATE)
        except OSError as error:
            raise InvalidAuthority(str(self.path), f"cannot be kept: {error.strerror}") from error
        return self._keys

    def _load(self) -> tuple[SigningKey, ...]:
        try:
            keys = msgspec.json.decode(self.path.read_bytes(), type=_File).keys
            for key in keys:
                private_key(key)
        except FileNotFoundError:
            return ()
        except (ValueError, AssertionError) as error:  # msgspec's errors are ValueErrors
            raise InvalidAuthority(str(self.path), "is not a file of signing keys; remove it") from error
        return keys


def _unmade(signs_from: float, signs_until: float) -> SigningKey:
    """Stands for a key while it is only asked whether one is due."""
    return SigningKey("", "", signs_from, signs_until)
