"""An API server in a process of its own, and kubectl and Helm as its users run them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SERVER = Path(__file__).with_name("kubectl_server.py")
SECONDS = 60


@dataclass
class ServerProcess:
    """Kept in `directory`, so that it can be started again with what it had."""

    directory: Path
    port: int = 0
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, str(SERVER), str(self.directory), str(self.port)]
        with (self.directory / "log").open("a") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout
        answer = self.process.stdout.readline()
        assert answer, (self.directory / "log").read_text()
        self.port = int(answer)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process:
            self.process.send_signal(number)
            self.process.communicate(timeout=SECONDS)
            self.process = None

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"


@dataclass
class Cli:
    """Runs kubectl and Helm with a home of their own, and nothing else of the environment."""

    binaries: Path
    server: ServerProcess
    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *command: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        program, *arguments = command
        return subprocess.run(
            [self.binaries / program, *arguments], input=stdin, capture_output=True, text=True, check=False,
            cwd=self.home, env=self._environment() | environment, timeout=SECONDS,
        )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        path = f"{self.binaries}:{os.environ['PATH']}"
        home = {"HOME": str(self.home), "TMPDIR": str(self.home), "PATH": path}
        return home | {"KUBECONFIG": str(self.server.kubeconfig)} | self.environment

    def kubectl(self, *arguments: str, stdin: str = "", **environment: str) -> str:
        """What kubectl prints; it must succeed."""
        done = self.run("kubectl", *arguments, stdin=stdin, **environment)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def refused(self, *arguments: str, stdin: str = "", **environment: str) -> str:
        """What kubectl complains of; it must fail."""
        done = self.run("kubectl", *arguments, stdin=stdin, **environment)
        assert done.returncode == 1, done.stdout
        return done.stderr

    def helm(self, *arguments: str) -> str:
        done = self.run("helm", *arguments)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """What `kubectl … -o json` prints."""
        return json.loads(self.kubectl(*arguments, "-o", "json"))

    @contextlib.contextmanager
    def watching(self, *arguments: str) -> Iterator[Iterator[str]]:
        """The lines that a kubectl prints which goes on until it is stopped."""
        with subprocess.Popen(
            [self.binaries / "kubectl", *arguments], stdout=subprocess.PIPE, text=True, cwd=self.home,
            env=self._environment(),
        ) as process:  # fmt: skip
            assert process.stdout
            try:
                yield (line.rstrip("\n") for line in process.stdout)
            finally:
                process.kill()
