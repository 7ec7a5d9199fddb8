"""Where a change of the root stands, in the authority's directory, so that it goes on after any interruption.

Three phases (as NIST SP 800-57 part 1 and Istio's "Plug in CA Certificates" have them): everybody trusts the
new root besides the old one; then the new one signs; then the old one is trusted no more. Nothing here waits:
who calls `advance` knows that everybody has what the phase is for.
"""

import time
from enum import Enum
from pathlib import Path
from typing import Final

import msgspec

from marline.identity.errors import InvalidAuthority
from marline.identity.files import PUBLIC, write_whole

FILE: Final = "rotation.json"
NEXT: Final = "next-"
"""What the names of the coming authority's files begin with."""
REQUEST_KEY: Final = "request.key"
"""The key of a request that is to be signed by a root elsewhere."""
IMPORTED: Final = "imported.pem"
"""The certificate for that key, while it is put into its place."""
_MOVED: Final = ("root.key", "ca.key", "ca.pem", "root.pem")


class Phase(Enum):
    """What is being done; each ends when every proxy has acknowledged it."""

    DISTRIBUTE = "distribute"
    """Both roots are trusted, the old one signs."""
    SIGN = "sign"
    """Both roots are trusted, the new one signs."""
    RETIRE = "retire"
    """The new root alone is trusted."""


_AFTER: Final = {Phase.DISTRIBUTE: Phase.SIGN, Phase.SIGN: Phase.RETIRE, Phase.RETIRE: None}


class RootRotation(msgspec.Struct, frozen=True, rename="camel"):
    """A change of the root that is under way."""

    phase: Phase
    since: float
    """When the phase began, in Unix seconds."""
    offline: bool = False
    """The new root's key is elsewhere."""


def under_way(directory: Path) -> RootRotation | None:
    """Raises `InvalidAuthority`."""
    path = directory / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=RootRotation)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise InvalidAuthority(str(path), f"cannot be read: {error}") from error


def begin(directory: Path, now: float, *, offline: bool) -> None:
    """The files of the coming authority are there: from now on it is trusted. Raises OSError."""
    _write(directory, RootRotation(Phase.DISTRIBUTE, now, offline))


def advance(directory: Path, done: RootRotation, now: float | None = None) -> None:
    """Everybody has what a phase is for: begin the next one, or end the whole. Raises OSError."""
    following = _AFTER[done.phase]
    if following is None:
        (directory / FILE).unlink(missing_ok=True)
        return
    _write(directory, RootRotation(following, time.time() if now is None else now, done.offline))


def retire(directory: Path, rotation: RootRotation) -> None:
    """Put the new authority's files into the place of the old one's, those that are not there yet."""
    if rotation.offline and (directory / f"{NEXT}root.pem").exists():
        (directory / "root.key").unlink(missing_ok=True)
    for name in _MOVED:
        coming = directory / f"{NEXT}{name}"
        if coming.exists():
            coming.rename(directory / name)


def finish_import(directory: Path) -> None:
    """Put a certificate that was imported, and its key, to use."""
    imported, key = directory / IMPORTED, directory / REQUEST_KEY
    if imported.exists():
        if key.exists():
            key.rename(directory / "ca.key")
        imported.rename(directory / "ca.pem")


def _write(directory: Path, rotation: RootRotation) -> None:
    write_whole(directory / FILE, msgspec.json.encode(rotation).decode(), PUBLIC)
