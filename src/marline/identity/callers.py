"""What the kernel says of a process that connected, gathered while it certainly still is that process.

A process number alone may by now be another process's. The kernel's handle of the peer (SO_PEERPIDFD, since
Linux 6.5) tells whether it has ended; on older kernels its start time is compared, before and after. Both are
looked at again after the facts have been read, and at every call.
"""

import asyncio
import errno
import grp
import hashlib
import os
import pwd
import select
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from marline.identity.peers import PeerCredentials, credentials_of, pidfd_of
from marline.identity.selectors import CGROUP, SHA256, Selector

_PROC: Final = Path("/proc")
_MAX_ANCESTORS: Final = 64
_CHUNK: Final = 1 << 20
_MAX_EXECUTABLE: Final = 1 << 30
"""Of a larger one no checksum is made: whoever connects decides what is read here."""
_DIGESTS: Final = 64
"""How many checksums of executables are remembered."""

_FileId = tuple[int, int, int, int]
_digests: Final[OrderedDict[_FileId, str]] = OrderedDict()


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a process."""

    peer: PeerCredentials
    session: int
    """Of its session's leader: children inherit it, and nobody can enter another's (setsid(2))."""
    ancestors: tuple[int, ...]
    network: int
    """The inode of its network namespace; 0: it may not be known."""
    selectors: frozenset[Selector]
    """All but the checksum of its executable."""

    def descends_from(self, pid: int) -> bool:
        """Is it this process, or one that it has started?"""
        return pid > 0 and pid in (self.peer.pid, self.session, *self.ancestors)


class Caller:
    """A process that connected. To be closed."""

    def __init__(self, connection: Any) -> None:
        """Raises `OSError` if it has ended, or cannot be seen from here."""
        self.peer = credentials_of(connection)
        if self.peer.pid <= 0:
            raise ProcessLookupError(f"user {self.peer.uid}'s process cannot be seen from here")
        self._directory = _PROC / str(self.peer.pid)
        self._pidfd = pidfd_of(connection)
        try:
            self._started = _stat(self._directory)[1]
            self.facts = _facts(self._directory, self.peer)
            if not self.is_there():
                raise ProcessLookupError(f"process {self.peer.pid} has ended")
        except BaseException:
            self.close()
            raise

    def is_there(self) -> bool:
        """Is it still the process that connected?"""
        if self._pidfd is not None:
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)  # a pidfd is readable once its process has ended
            return not poll.poll(0)
        try:
            return _stat(self._directory)[1] == self._started
        except OSError:
            return False

    async def checksum(self) -> Selector | None:
        """Of its executable; None if that may not be read."""
        return await asyncio.to_thread(self._checksum)

    def _checksum(self) -> Selector | None:
        try:
            with (self._directory / "exe").open("rb") as file:
                digest = _digest(file)
        except OSError:
            return None
        return Selector(SHA256, digest) if self.is_there() else None

    def close(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


def _digest(file: Any) -> str:
    """A file's checksum, remembered as long as the file is the same: nobody can set its change time, and an
    executable that runs cannot be written to."""
    found = os.fstat(file.fileno())
    if found.st_size > _MAX_EXECUTABLE:
        raise OSError(errno.EFBIG, "too large")
    key = (found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns)
    if key not in _digests:
        made = hashlib.sha256()
        while chunk := file.read(_CHUNK):
            made.update(chunk)
        _digests[key] = made.hexdigest()
        while len(_digests) > _DIGESTS:
            _digests.popitem(last=False)
    return _digests[key]


def _stat(directory: Path) -> tuple[int, int, int]:
    """Of a process: its parent, when it was started, its session (proc_pid_stat(5)). Raises `OSError`."""
    after_name = (directory / "stat").read_text(errors="replace").rpartition(")")[2].split()
    return int(after_name[1]), int(after_name[19]), int(after_name[3])


def _facts(directory: Path, peer: PeerCredentials) -> Facts:
    _, _, session = _stat(directory)
    return Facts(
        peer,
        session,
        tuple(_ancestors(peer.pid)),
        _network(directory),
        frozenset(_selectors(directory, peer)),
    )


def _ancestors(pid: int) -> Iterator[int]:
    """A parent that ends leaves its children to another: a number is a parent's only if it still is when that
    process has been looked at."""
    for _ in range(_MAX_ANCESTORS):
        try:
            parent = _stat(_PROC / str(pid))[0]
            if parent <= 1 or not (_PROC / str(parent)).exists() or _stat(_PROC / str(pid))[0] != parent:
                return
        except OSError:
            return
        yield parent
        pid = parent


def _network(directory: Path) -> int:
    try:
        return (directory / "ns" / "net").stat().st_ino
    except OSError:
        return 0


def _selectors(directory: Path, peer: PeerCredentials) -> Iterator[Selector]:
    yield Selector("unix:uid", str(peer.uid))
    yield from _named("unix:user", lambda: pwd.getpwuid(peer.uid).pw_name)
    yield Selector("unix:gid", str(peer.gid))
    yield from _named("unix:group", lambda: grp.getgrgid(peer.gid).gr_name)
    for gid in _supplementary(directory):
        yield Selector("unix:supplementary_gid", str(gid))
        yield from _named("unix:supplementary_group", lambda gid=gid: grp.getgrgid(gid).gr_name)
    path = _executable(directory)
    if path:
        yield Selector("unix:path", path)
    for cgroup in _cgroups(directory):
        yield Selector(CGROUP, cgroup)
        unit = unit_of(cgroup)
        if unit:
            yield Selector("systemd:id", unit)


def _named(kind: str, name: Any) -> Iterator[Selector]:
    try:
        yield Selector(kind, name())
    except KeyError:  # a number without a name
        return


def _supplementary(directory: Path) -> list[int]:
    for line in (directory / "status").read_text(errors="replace").splitlines():
        if line.startswith("Groups:"):
            return [int(gid) for gid in line.split()[1:]]
    return []


def _executable(directory: Path) -> str:
    """The path of what it runs, if that is what it is here too: in a mount namespace of its own a process may
    have anything at any path. "": it may not be known, or is gone."""
    link = directory / "exe"
    try:
        path = os.readlink(link)  # noqa: PTH115 (a path that is no longer there is not to be resolved)
        here, there = os.stat(path), link.stat()  # noqa: PTH116
    except OSError:
        return ""
    return path if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino) else ""


def _cgroups(directory: Path) -> list[str]:
    """In all hierarchies (cgroups(7)); none of those that are beyond what can be seen from here."""
    lines = (directory / "cgroup").read_text(errors="replace").splitlines()
    paths = dict.fromkeys(line.split(":", 2)[2] for line in lines)
    return [path for path in paths if path != "/" and ".." not in path.split("/")]


def unit_of(cgroup: str) -> str:
    """The systemd unit of a cgroup; "" if there is none. It is the first below the slices: what is further
    below was made by the unit itself, such as the user's own manager, which may choose any name."""
    for part in cgroup.split("/")[1:]:
        if not part.endswith(".slice"):
            return part if part.endswith((".service", ".scope")) else ""
    return ""
