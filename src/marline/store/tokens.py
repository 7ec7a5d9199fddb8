"""Bearer tokens of the embedded API server: what is asked of `/marline/v1/tokens`, at both of its ends."""

from typing import Final

import msgspec

PATH: Final = "/marline/v1/tokens"
ADMINS: Final = "system:masters"
"""May do all."""
NODES: Final = "marline:nodes"
"""May read all, register workloads, and have certificates signed."""


class TokenRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A token for a user of this name is to be made (POST), or all of the user's are to end (DELETE)."""

    user: str
    groups: tuple[str, ...] = ()


class TokenAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """The token, which cannot be read again; or how many have ended."""

    token: str = ""
    revoked: int = 0
