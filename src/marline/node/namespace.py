"""Sockets in another network namespace.

setns(2) moves one thread. It is moved there and back between two instructions of the event loop, so nobody
notices; what was made there stays there.
"""

import ctypes
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

CLONE_NEWNET: Final = 0x40000000
_OWN: Final = "/proc/thread-self/ns/net"
_libc: Final = ctypes.CDLL(None, use_errno=True)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextmanager
def inside(netns: str) -> Iterator[None]:
    """Within this block, which must not await, sockets are made in the namespace of this path; "": here.

    Raises OSError.
    """
    if not netns:
        yield
        return
    home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _enter(home)
    finally:
        os.close(home)


def socket_in(netns: str, family: int, kind: int) -> socket.socket:
    """A non-blocking socket in a network namespace."""
    with inside(netns):
        made = socket.socket(family, kind)
    made.setblocking(False)
    return made
