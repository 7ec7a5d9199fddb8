"""A whole mesh for tests: started by the `marline` command in a home of its own, and ended with it.

with running_mesh("explicit", application) as mesh:
    mesh.apply(VIRTUAL_SERVICE)
    results = mesh.caller("client").fetch("{ECHO_URL}/", count=100)
"""

import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

APPS = Path(__file__).parent / "apps"
MARLINE = str(Path(sys.executable).with_name("marline"))
needs_root = (
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
)
MODES = ("explicit", pytest.param("transparent", marks=needs_root))
"""For `pytest.fixture(params=MODES)`: what holds in one capture mode holds in the other."""
_PATIENCE = 20.0
ECHO = """
services:
  client:
    command: "{python} {apps}/caller.py {home}/client.sock"
    upstreams: [echo:9080, LINES=echo:9000]
  echo:
    ports: [http:9080, tcp:9000]
    command: "{python} {apps}/echo.py"
    versions:
      v1: {environment: {VERSION: v1}}
      v2: {environment: {VERSION: v2}}
"""
"""An application: a service in two versions, and one who calls it."""
ECHO_SUBSETS = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec:
  host: echo
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
"""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def unix_request(path: Path, method: str, target: str, body: Any = None, timeout: float = 120) -> str:
    """One HTTP request over a Unix socket."""
    connection = _UnixConnection(path, timeout)
    try:
        connection.request(method, target, json.dumps(body) if body is not None else None)
        response = connection.getresponse()
        text = response.read().decode()
        assert response.status == 200, text
        return text
    finally:
        connection.close()


@dataclass(frozen=True)
class Caller:
    """A workload (`apps/caller.py`) that does what a test tells it to."""

    path: Path

    def _ask(self, what: str, **asked: Any) -> Any:
        # It has no port by which the mesh could tell when it listens.
        eventually(lambda: _listens(self.path), f"somebody listens at {self.path}")
        return json.loads(unix_request(self.path, "POST", f"/{what}", asked))

    def fetch(self, url: str, **more: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask("fetch", url=url, **more)
        return found

    def versions(self, url: str, count: int, **more: Any) -> dict[str, int]:
        """Which versions have answered how often; anything but a 200 fails the test."""
        found: dict[str, int] = {}
        for result in self.fetch(url, count=count, **more):
            assert result["status"] == 200, result
            version = result["said"]["version"]
            found[version] = found.get(version, 0) + 1
        return found

    def begin(self, url: str, **more: Any) -> None:
        self._ask("begin", url=url, **more)

    def end(self) -> list[tuple[int, str]]:
        return [(status, version) for status, version in self._ask("end")]

    def lines(self, host: str, port: str, connections: int = 1) -> list[str]:
        found: list[str] = self._ask("lines", host=host, port=port, connections=connections)
        return found

    def websocket(self, url: str) -> str:
        return str(self._ask("socket", url=url))


@dataclass(frozen=True)
class Mesh:
    """A running mesh."""

    home: Path
    capture: str

    def run(self, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command, however it ends."""
        return subprocess.run(
            [MARLINE, "--home", str(self.home), *arguments],
            input=text, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def marline(self, *arguments: str, text: str | None = None, ok: bool = True) -> str:
        """Run the command; its standard output."""
        done = self.run(*arguments, text=text)
        assert (done.returncode == 0) is ok, f"marline {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout if ok else done.stderr

    def apply(self, text: str) -> str:
        """Until every proxy has it."""
        return self.marline("apply", "--wait", "-f", "-", text=text)

    def delete(self, kind: str, name: str, namespace: str = "default") -> str:
        return self.marline("delete", kind, name, "-n", namespace)

    def caller(self, name: str) -> Caller:
        return Caller(self.home / f"{name}.sock")

    def workloads(self) -> list[dict[str, Any]]:
        """What every runner says of itself."""
        records = (self.home / "run" / "w").glob("*/workload.json")
        return sorted((json.loads(path.read_text()) for path in records), key=lambda item: item["name"])

    def workload(self, service: str, version: str = "") -> dict[str, Any]:
        found = [item for item in self.workloads() if item["service"] == service]
        return next(item for item in found if not version or item["version"] == version)

    def admin(self, service: str, path: str, version: str = "", method: str = "GET") -> str:
        """What a sidecar's admin interface answers."""
        return unix_request(Path(self.workload(service, version)["adminSocket"]), method, path)

    def control_plane_pid(self) -> int:
        """0 while it is not ready."""
        info = json.loads(self.node("info"))["info"]
        return int(info["control_plane_pid"]) if info["control_plane_ready"] else 0

    def node(self, op: str) -> str:
        """A request to the node agent's control socket."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.home / "run" / "node.sock"))
            client.sendall(json.dumps({"op": op}).encode() + b"\n")
            return client.makefile().readline()


def eventually(condition: Callable[[], Any], what: str, home: Path | None = None) -> Any:
    """Ask until it is so: for states of other processes, which tell nobody when they change. A failure
    shows the end of the logs below `home`."""
    patience = _PATIENCE
    deadline = time.monotonic() + patience
    while not (found := condition()):
        if time.monotonic() > deadline:
            logs = "".join(_tail(log) for log in sorted(home.glob("log/*.log"))) if home else ""
            raise AssertionError(f"not in {patience:g} s: {what}\n{logs}")
        time.sleep(0.05)
    return found


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as trial:
        try:
            trial.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        return True


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-15:]
    return "\n".join([f"--- {log.name}", *lines, ""])


@contextmanager
def running_mesh(capture: str, application: str, *arguments: str, **settings: Any) -> Iterator[Mesh]:
    """`application`: an application file, in which {apps}, {python} and {home} are filled in. `settings`:
    what `mesh.json` says from the start."""
    home = Path(tempfile.mkdtemp(prefix="mrl-"))
    mesh = Mesh(home, capture)
    try:
        if settings:
            mesh_id = secrets.token_hex(3)
            (home / "mesh.json").write_text(json.dumps({"meshId": mesh_id, "capture": capture, **settings}))
        text = application.replace("{apps}", str(APPS)).replace("{python}", sys.executable)
        file = home / "application.yaml"
        file.write_text(text.replace("{home}", str(home)))
        mesh.marline("up", "-f", str(file), "--capture", capture, *arguments)
        yield mesh
    finally:
        try:
            mesh.marline("down")
        finally:
            shutil.rmtree(home)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
