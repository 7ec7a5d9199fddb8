"""Who is at the other end of a Unix socket, as the kernel knows it (unix(7), SO_PEERCRED)."""

import errno
import os
import select
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

_UCRED: Final = struct.Struct("3i")
_SO_PEERPIDFD: Final = 77
"""asm-generic/socket.h, since Linux 6.5; Python has no name for it."""


@dataclass(frozen=True, slots=True)
class PeerCredentials:
    """The process that connected, at the time when it did."""

    pid: int
    """0 if the process cannot be seen from here (another PID namespace)."""
    uid: int
    gid: int


Allowed = Callable[[PeerCredentials], bool]


def only_process(pid: Callable[[], int]) -> Allowed:
    """Allows one process, of this user: the one whose pid the callback returns (0: none now)."""

    def allowed(peer: PeerCredentials) -> bool:
        return peer.uid == os.geteuid() and peer.pid > 0 and peer.pid == pid()

    return allowed


def credentials_of(connection: Any) -> PeerCredentials:
    """Of a connected Unix socket. Raises `OSError`."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return PeerCredentials(*_UCRED.unpack(raw))


def attest(connection: Any, allowed: Allowed) -> PeerCredentials | None:
    """The peer, if it is allowed and still the process that connected; else None.

    A pid alone could by now be another process's: one that connects, hands the connection on and ends
    before the allowed process is started under its pid. The kernel's handle of the process that connected
    tells (Linux 6.5); older kernels leave that to a process of the same user, within that moment.
    """
    try:
        peer = credentials_of(connection)
        if not allowed(peer) or _has_ended(connection):
            return None
    except OSError:  # the kernel knows of no such process any more
        return None
    return peer


def _has_ended(connection: Any) -> bool:
    descriptor = pidfd_of(connection)
    if descriptor is None:
        return False
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)  # a pidfd is readable once its process has ended
        return bool(poll.poll(0))
    finally:
        os.close(descriptor)


def pidfd_of(connection: Any) -> int | None:
    """The kernel's handle of the process that connected, to be closed; None on a kernel without.

    Raises `OSError` if that process has ended.
    """
    try:
        return int(connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD))
    except OSError as error:
        if error.errno == errno.ENOPROTOOPT:
            return None
        raise
