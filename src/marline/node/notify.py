"""A child tells its supervisor what it is to know: systemd's protocol (sd_notify(3)), both ends.

The control plane says `READY` when all that it serves is served; under systemd the same call works.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

VARIABLE: Final = "NOTIFY_SOCKET"
READY: Final = b"READY=1"
RATE_LIMITS_WANTED: Final = b"X_MARLINE_RATE_LIMITS=1"
"""Limits are to be counted for all proxies together."""


def notify(message: bytes) -> None:
    """Tell whoever started this process, if it wants to know. Raises OSError if it cannot be told."""
    address = os.environ.get(VARIABLE)
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
        sender.sendall(message)


class NotifySocket:
    """Where children say so."""

    def __init__(self, path: Path, heard: Mapping[bytes, Callable[[], None]]) -> None:
        """`path`: a socket that only this user can write to; `heard` by message, is called for each."""
        self._path, self._heard = path, heard
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        before = os.umask(0o177)
        try:
            self._socket.bind(str(path))
        finally:
            os.umask(before)
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def _read(self) -> None:
        for message in self._socket.recv(4096).split(b"\n"):
            if message in self._heard:
                self._heard[message]()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)
