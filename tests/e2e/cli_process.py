"""The `marline` command as a process of a test: once with its result, or in the foreground until a signal."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo_process import processes_of
from running_mesh import MARLINE, eventually

from marline.node import network, nftables
from marline.node.home import Home, load_config

_SERVER = (
    "import http.server as h, os;"
    "h.test(h.SimpleHTTPRequestHandler, port=int(os.environ['PORT']), bind='127.0.0.1')"
)
SERVER = (sys.executable, "-c", _SERVER)
"""A program that serves its directory over HTTP, where it is told to."""


@dataclass(frozen=True)
class Ended:
    """What a command has printed and how it ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


def marline(home: Path, *arguments: str, text: str = "") -> Ended:
    """Run a command to its end."""
    done = subprocess.run(
        [MARLINE, "--home", str(home), *arguments],
        input=text, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


@dataclass
class Foreground:
    """A `marline run` under way."""

    process: subprocess.Popen[str]
    said: Path
    """The file that it writes to."""

    def await_text(self, text: str) -> str:
        """Until it has printed this; all that it has printed."""
        eventually(lambda: text in self.said.read_text() or self.process.poll() is not None, text)
        printed = self.said.read_text()
        assert text in printed, f"ended with {self.process.returncode}: {printed}"
        return printed

    def end(self, *numbers: signal.Signals) -> int:
        """Send these signals; its exit code."""
        for number in numbers:
            self.process.send_signal(number)
        return self.process.wait(timeout=60)


@contextmanager
def foreground(home: Path, *arguments: str) -> Iterator[Foreground]:
    """A command in a session of its own, as a shell's child in the foreground would be in its group."""
    with tempfile.NamedTemporaryFile(dir=home, prefix="said-") as file:
        process = subprocess.Popen(
            [MARLINE, "--home", str(home), *arguments],
            stdin=subprocess.DEVNULL, stdout=file, stderr=file, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            yield Foreground(process, Path(file.name))
        finally:
            process.kill()
            process.wait()


def leftovers(home: Path) -> list[str]:
    """What a mesh of this home has left on the machine: processes, sockets, links, nftables tables."""
    found = [f"process {name}" for name in processes_of(home)]
    found += [str(path) for path in (home / "run").rglob("*") if path.name not in ("node.pid", "w")]
    config = load_config(Home(home))
    if config is None or os.geteuid() != 0:
        return found
    links = [name for _, name in socket.if_nameindex()]
    bridge = network.bridge_name(config.mesh_id)
    found += [name for name in links if name == bridge or name.startswith(f"mrl{config.mesh_id}")]
    table = network.host_table(config.mesh_id)
    return found + [name for name in nftables.tables(nftables.IPV4) if name == table]
