"""`marline demo` as a process of a test, and everything that it could leave behind."""

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from running_mesh import MARLINE, eventually

from marline.node import network, nftables
from marline.node.home import MeshConfig


@dataclass
class Demo:
    """A running demo. Its temporary home is in `directory`, which is empty afterwards."""

    process: subprocess.Popen[str]
    directory: Path
    _mesh_ids: set[str] = field(default_factory=set)

    def seen(self, pattern: str) -> list[Path]:
        """What there is in its directory now."""
        for file in self.directory.glob("*/mesh.json"):
            self._mesh_ids.add(msgspec.json.decode(file.read_bytes(), type=MeshConfig).mesh_id)
        return list(self.directory.glob(pattern))

    def await_file(self, pattern: str) -> Path:
        """The first file or directory of this name in its directory."""
        found: list[Path] = eventually(lambda: self.seen(pattern), f"{pattern} in {self.directory}", 60)
        return found[0]

    def await_line(self, text: str) -> str:
        """The first line of its standard output that contains this."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if text in line:
                return line
        raise AssertionError(f"the demo ended with {self.process.wait()} and did not print {text!r}")

    def end(self, *numbers: signal.Signals) -> int:
        """Send these signals; its exit code."""
        self.seen("mesh.json")
        for number in numbers:
            self.process.send_signal(number)
        self.process.communicate(timeout=60)
        return self.process.returncode

    def leftovers(self, *, files: bool = True) -> list[str]:
        """Files, processes, links and nftables tables."""
        found = [str(path) for path in self.directory.rglob("*")] if files else []
        found += [f"process {name}" for name in processes_of(self.directory)]
        prefixes = tuple(f"mrl{mesh_id}" for mesh_id in self._mesh_ids)
        bridges = {network.bridge_name(mesh_id) for mesh_id in self._mesh_ids}
        links = {name for _, name in socket.if_nameindex()}
        found += [name for name in links if name in bridges or (prefixes and name.startswith(prefixes))]
        if os.geteuid() == 0:
            tables = {network.host_table(mesh_id) for mesh_id in self._mesh_ids}
            found += tables.intersection(nftables.tables(nftables.IPV4))
        return found


def processes_of(directory: Path) -> list[str]:
    """Processes that were started with this directory in their arguments, environment or as their place."""
    found = []
    sign = os.fsencode(directory)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            said = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
            place = os.fsencode((process / "cwd").readlink())
        except OSError:
            continue  # it has ended, or is somebody else's
        if any(sign in text for text in (*said, place)):
            found.append(f"{process.name}: {said[0].decode(errors='replace')}")
    return found


@contextmanager
def demo(*arguments: str) -> Iterator[Demo]:
    """A demo at a free port in a temporary directory of its own."""
    with tempfile.TemporaryDirectory(prefix="mrl-", dir="/tmp") as directory:
        environment = {name: value for name, value in os.environ.items() if name != "MARLINE_HOME"}
        process = subprocess.Popen(
            [MARLINE, "demo", "--port", "0", *arguments],
            env={**environment, "TMPDIR": directory},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        with process:
            try:
                yield Demo(process, Path(directory))
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.communicate(timeout=60)
