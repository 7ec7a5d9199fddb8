"""The mesh's own authority: made at first start, kept in files, renewed in time.

`root.pem` and `root.key`: the root, ten years. `ca.pem` and `ca.key`: the intermediate that signs, one
year, replaced when two thirds are over. The root's key is used only then, so it may be kept elsewhere
in between. A pair's certificate is written last: with it the pair exists.
"""

import logging
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
    Validity,
    intermediate_certificate,
    root_certificate,
)
from marline.identity.errors import InvalidAuthority
from marline.identity.files import PRIVATE, PUBLIC, locked, write_whole
from marline.identity.svid import key_pem, make_key

ROOT_SECONDS: Final = 10 * 365 * 86400.0
INTERMEDIATE_SECONDS: Final = 365 * 86400.0
_LOCK: Final = "lock"

_log = logging.getLogger(__name__)


def open_home(directory: Path, trust_domain: str, now: float) -> Authority:
    """The authority kept in this directory, made if there is none, its intermediate renewed if due.

    Any number of processes may do this at once; all get the same authority, and one that is interrupted
    leaves nothing that a later one could not finish. Raises `InvalidAuthority`.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(directory / _LOCK):
            for leftover in directory.glob(".*.*"):
                leftover.unlink()
            root = _root(directory, trust_domain, now)
            return _intermediate(directory, root, trust_domain, now)
    except OSError as error:
        raise InvalidAuthority(str(directory), f"cannot be kept: {error.strerror}") from error


def _root(directory: Path, trust_domain: str, now: float) -> x509.Certificate:
    path = directory / "root.pem"
    if not path.exists():
        if (directory / "ca.pem").exists():
            raise InvalidAuthority(str(path), "is missing, but ca.pem is there; restore it from a copy")
        key = make_key()
        root = root_certificate(key, trust_domain, Validity(now - CLOCK_SKEW_SECONDS, now + ROOT_SECONDS))
        write_whole(directory / "root.key", key_pem(key), PRIVATE)
        write_whole(path, pem(root), PUBLIC)
        _log.info("made the root authority of trust domain %s in %s", trust_domain, directory)
    root = read_certificates(path)[0]
    check_authority(path, root, 1, now)
    check_names(path, root, trust_domain)
    return root


def _intermediate(directory: Path, root: x509.Certificate, trust_domain: str, now: float) -> Authority:
    """The one that is there, unless it must or can be replaced."""
    root_key = directory / "root.key"
    path = directory / "ca.pem"
    try:
        authority = _load_intermediate(directory, root, trust_domain, now)
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
            _log.warning("%s should be renewed, which needs %s", path, root_key)
            return authority
    _make_intermediate(directory, root, trust_domain, now)
    return _load_intermediate(directory, root, trust_domain, now)


def _load_intermediate(directory: Path, root: x509.Certificate, trust_domain: str, now: float) -> Authority:
    path = directory / "ca.pem"
    certificate = read_certificates(path)[0]
    key = read_key(directory / "ca.key")
    check_key_belongs(directory / "ca.key", key, certificate)
    return made_authority(path, certificate, key, (), (root,), trust_domain, now)


def _make_intermediate(directory: Path, root: x509.Certificate, trust_domain: str, now: float) -> None:
    root_key = read_key(directory / "root.key")
    check_key_belongs(directory / "root.key", root_key, root)
    key = make_key()
    starts = max(now - CLOCK_SKEW_SECONDS, root.not_valid_before_utc.timestamp())
    ends = min(now + INTERMEDIATE_SECONDS, root.not_valid_after_utc.timestamp())
    validity = Validity(starts, ends)
    certificate = intermediate_certificate(key.public_key(), root, root_key, trust_domain, validity)
    write_whole(directory / "ca.key", key_pem(key), PRIVATE)
    write_whole(directory / "ca.pem", pem(certificate), PUBLIC)
    _log.info("made a signing certificate, valid until %s", certificate.not_valid_after_utc)
