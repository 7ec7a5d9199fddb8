"""The mesh's own authority: made at first start, kept in files, renewed in time.

`root.pem` and `root.key`: the root, ten years. `ca.pem` and `ca.key`: the intermediate that signs, one
year, replaced when two thirds are over. The root's key is used only then, so it may be kept elsewhere
in between, or always (`ca_offline`). A pair's certificate is written last: with it the pair exists.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509

from marline.identity.ca import Authority, pem
from marline.identity.ca_checks import (
    check_authority,
    check_key_belongs,
    check_names,
    made_authority,
    read_certificates,
    read_key,
)
from marline.identity.certificates import (
    CLOCK_SKEW_SECONDS,
    PublicKey,
    SigningKey,
    Validity,
    intermediate_certificate,
    root_certificate,
)
from marline.identity.errors import InvalidAuthority
from marline.identity.files import PRIVATE, PUBLIC, locked, write_whole
from marline.identity.root_rotation import (
    NEXT,
    Phase,
    RootRotation,
    advance,
    begin,
    finish_import,
    retire,
    under_way,
)
from marline.identity.svid import key_pem, make_key

ROOT_SECONDS: Final = 10 * 365 * 86400.0
INTERMEDIATE_SECONDS: Final = 365 * 86400.0
_LOCK: Final = "lock"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one root and its intermediate."""

    directory: Path
    prefix: str = ""

    def path(self, name: str) -> Path:
        return self.directory / f"{self.prefix}{name}"


def open_home(directory: Path, trust_domain: str, now: float) -> Authority:
    """The authority kept in this directory, made if there is none, its intermediate renewed if due.

    Any number of processes may do this at once; all get the same authority, and one that is interrupted
    leaves nothing that a later one could not finish. Raises `InvalidAuthority`.
    """
    with kept(directory):
        finish_import(directory)
        return _open(directory, trust_domain, now)


def begin_rotation(directory: Path, trust_domain: str, now: float) -> None:
    """Make a new root, and begin to change to it unless that is under way. Raises `InvalidAuthority`."""
    with kept(directory):
        if under_way(directory) is not None:
            return
        if not (directory / "root.key").exists():
            reason = "is kept elsewhere; bring what another root there has signed (`marline ca import`)"
            raise InvalidAuthority(str(directory / "root.key"), reason)
        coming = Files(directory, NEXT)
        for name in ("root.pem", "root.key", "ca.pem", "ca.key"):
            coming.path(name).unlink(missing_ok=True)
        write_root(coming, trust_domain, now)
        _make_intermediate(coming, read_certificates(coming.path("root.pem"))[0], trust_domain, now)
        begin(directory, now, offline=False)


def advance_rotation(directory: Path, done: RootRotation, now: float) -> None:
    """Every proxy has what a phase is for: begin the next one. Raises `InvalidAuthority`."""
    with kept(directory):
        if under_way(directory) == done:
            advance(directory, done, now)


@contextmanager
def kept(directory: Path) -> Iterator[None]:
    """Be the only one who writes there. Raises `InvalidAuthority`."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(directory / _LOCK):
            for leftover in directory.glob(".*.*"):
                leftover.unlink()
            yield
    except OSError as error:
        raise InvalidAuthority(str(directory), f"cannot be kept: {error.strerror}") from error


def _open(directory: Path, trust_domain: str, now: float) -> Authority:
    rotation = under_way(directory)
    current, coming = Files(directory), Files(directory, NEXT)
    if rotation is not None and rotation.phase is Phase.RETIRE:
        retire(directory, rotation)
    if rotation is None or rotation.phase is Phase.RETIRE:
        return _intermediate(current, _root(current, trust_domain, now), (), trust_domain, now)
    old, new = _root(current, trust_domain, now), _read_root(coming, trust_domain, now)
    if rotation.phase is Phase.DISTRIBUTE:
        return _intermediate(current, old, (new,), trust_domain, now)
    return _intermediate(coming, new, (old,), trust_domain, now)


def _root(files: Files, trust_domain: str, now: float) -> x509.Certificate:
    path = files.path("root.pem")
    if not path.exists():
        if files.path("ca.pem").exists():
            raise InvalidAuthority(str(path), "is missing, but ca.pem is there; restore it from a copy")
        write_root(files, trust_domain, now)
    return _read_root(files, trust_domain, now)


def write_root(files: Files, trust_domain: str, now: float) -> None:
    """Make a root and its key. Raises OSError."""
    key = make_key()
    root = root_certificate(key, trust_domain, Validity(now - CLOCK_SKEW_SECONDS, now + ROOT_SECONDS))
    write_whole(files.path("root.key"), key_pem(key), PRIVATE)
    write_whole(files.path("root.pem"), pem(root), PUBLIC)
    _log.info("made a root authority of trust domain %s in %s", trust_domain, files.directory)


def _read_root(files: Files, trust_domain: str, now: float) -> x509.Certificate:
    path = files.path("root.pem")
    root = read_certificates(path)[0]
    check_authority(path, root, 1, now)
    check_names(path, root, trust_domain)
    return root


def _intermediate(
    files: Files, root: x509.Certificate, also: tuple[x509.Certificate, ...], trust_domain: str, now: float
) -> Authority:
    """The one that is there, unless it must or can be replaced. `also`: other roots that are trusted."""
    root_key = files.path("root.key")
    path = files.path("ca.pem")
    try:
        authority = _load_intermediate(files, (root, *also), trust_domain, now)
    except InvalidAuthority as error:
        if not root_key.exists():
            reason = f"cannot be used ({error.reason}), and a new one needs {root_key}, which is not there"
            raise InvalidAuthority(str(path), reason) from error
        if path.exists():
            _log.warning("replacing the signing certificate: %s", error)
    else:
        if not authority.renewal_due(now):
            return authority
        if not root_key.exists():
            _log.warning("%s should be renewed, which needs %s or `marline ca import`", path, root_key)
            return authority
    _make_intermediate(files, root, trust_domain, now)
    return _load_intermediate(files, (root, *also), trust_domain, now)


def _load_intermediate(
    files: Files, roots: tuple[x509.Certificate, ...], trust_domain: str, now: float
) -> Authority:
    path = files.path("ca.pem")
    certificate = read_certificates(path)[0]
    key = read_key(files.path("ca.key"))
    check_key_belongs(files.path("ca.key"), key, certificate)
    return made_authority(path, certificate, key, (), roots, trust_domain, now)


def _make_intermediate(files: Files, root: x509.Certificate, trust_domain: str, now: float) -> None:
    root_key = read_key(files.path("root.key"))
    check_key_belongs(files.path("root.key"), root_key, root)
    key = make_key()
    certificate = sign_intermediate(key.public_key(), root, root_key, trust_domain, now)
    write_whole(files.path("ca.key"), key_pem(key), PRIVATE)
    write_whole(files.path("ca.pem"), pem(certificate), PUBLIC)
    _log.info("made a signing certificate, valid until %s", certificate.not_valid_after_utc)


def sign_intermediate(
    public_key: PublicKey, root: x509.Certificate, root_key: SigningKey, trust_domain: str, now: float
) -> x509.Certificate:
    """The certificate of an authority that signs workloads, for a year."""
    starts = max(now - CLOCK_SKEW_SECONDS, root.not_valid_before_utc.timestamp())
    ends = min(now + INTERMEDIATE_SECONDS, root.not_valid_after_utc.timestamp())
    return intermediate_certificate(public_key, root, root_key, trust_domain, Validity(starts, ends))
