"""Join tokens: each lets one node of one name get its first certificate, once, within minutes.

Only hashes are kept, in a file, so that a token survives a restart of the control plane.
"""

import hashlib
import secrets
from pathlib import Path
from typing import Final

import msgspec

from marline.store.embedded.credentials import write_secret
from marline.store.interface import BadRequest, Refused

MIN_SECONDS: Final = 10.0
MAX_SECONDS: Final = 24 * 3600.0
MAX_TOKENS: Final = 1000
"""That wait to be used, at a time."""
_REFUSAL: Final = "the join token is not valid: it is unknown, used, expired, or for another node"
"""One answer for all, so that nobody can find out which."""


class _Token(msgspec.Struct, frozen=True):
    sha256: str
    node: str
    expires: float


class JoinTokens:
    """The tokens in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tokens: dict[str, _Token] = {}
        if path.exists():
            known = msgspec.json.decode(path.read_bytes(), type=tuple[_Token, ...])
            self._tokens = {token.sha256: token for token in known}

    def create(self, node: str, seconds: float, now: float) -> str:
        """A new token, which cannot be read again. Raises `BadRequest`, and `Refused` if too many wait."""
        if not MIN_SECONDS <= seconds <= MAX_SECONDS:
            raise BadRequest(f"a join token lives for {MIN_SECONDS:g} to {MAX_SECONDS:g} s, not {seconds:g}")
        self._tokens = {key: token for key, token in self._tokens.items() if token.expires > now}
        if len(self._tokens) >= MAX_TOKENS:
            raise Refused(f"{MAX_TOKENS} join tokens wait to be used", "TooManyRequests", 429)
        token = secrets.token_urlsafe(32)
        made = _Token(_digest(token), node, now + seconds)
        self._tokens[made.sha256] = made
        self._write()
        return token

    def redeem(self, token: str, node: str, now: float) -> None:
        """Use a token up. Returns when that is on disk: it is not valid again, whatever happens next.
        Raises `Refused`."""
        found = self._tokens.get(_digest(token))
        if found is None or found.node != node or found.expires <= now:
            raise Refused(_REFUSAL, "Unauthorized", 401)
        del self._tokens[found.sha256]
        self._write()

    def _write(self) -> None:
        write_secret(self._path, msgspec.json.encode(list(self._tokens.values())))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
