"""A child tells its supervisor that it is ready: systemd's protocol (sd_notify(3)), both ends.

The control plane calls `notify_ready` when all that it serves is served; under systemd the same call works.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

VARIABLE: Final = "NOTIFY_SOCKET"
_READY: Final = b"READY=1"


def notify_ready() -> None:
    """Tell whoever started this process, if it wants to know. Raises OSError if it cannot be told."""
    address = os.environ.get(VARIABLE)
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
        sender.sendall(_READY)


class ReadinessSocket:
    """Where children say that they are ready."""

    def __init__(self, path: Path, ready: Callable[[], None]) -> None:
        """`path`: a socket that only this user can write to; `ready` is called for each message."""
        self._path, self._ready = path, ready
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        before = os.umask(0o177)
        try:
            self._socket.bind(str(path))
        finally:
            os.umask(before)
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def _read(self) -> None:
        if _READY in self._socket.recv(4096).split(b"\n"):
            self._ready()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)
