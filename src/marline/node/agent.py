"""The node agent: one process for each mesh and machine, started by `marline up`.

It keeps the control plane alive, hosts the workloads and gateways of application files, and answers on the
control socket. Everything that it starts ends with it, whatever ends it.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from marline.node import enter
from marline.node.connect import open_machine
from marline.node.control import (
    MAX_LINE,
    AgentInfo,
    Answer,
    Request,
    decode_request,
    encode_answer,
)
from marline.node.deployment import APPLICATION, GatewayDeployment
from marline.node.errors import AgentRefused, NodeError, StartFailed
from marline.node.home import Home, MeshConfig, find_home, hold, load_config
from marline.node.host import Host
from marline.node.machine import ended
from marline.node.notify import RATE_LIMITS_WANTED, READY, VARIABLE, NotifySocket
from marline.node.process import Launch, Process, end_process, spawn
from marline.node.rate_limits import RateLimits
from marline.node.records import recorded, sweep
from marline.node.supervise import BackOff, Supervision, Supervisor
from marline.node.workload import WorkloadStatus
from marline.store.interface import StoreError

_BACK_OFF: Final = BackOff(first=0.1, maximum=5.0)
_FIRST_START_SECONDS: Final = 60.0
_GRACE_SECONDS: Final = 10.0
_FOREIGN_SECONDS: Final = 30.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class ControlPlane:
    """The control plane as a child of the agent."""

    home: Home
    stopping: asyncio.Event
    """The agent is to end: it does not wait for the control plane any more."""
    rate_limits_wanted: Callable[[], None]
    """Called when the control plane wants limits counted for all proxies together."""
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    _supervisor: Supervisor | None = None
    _stopping: bool = False
    _was_ready: bool = False
    _ended_early: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int:
        return self._supervisor.pid if self._supervisor is not None else 0

    @property
    def restarts(self) -> int:
        return self._supervisor.machine.restarts if self._supervisor is not None else 0

    @property
    def log(self) -> Path:
        return self.home.log / "control-plane.log"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Kept alive within this block, which begins when it is ready. Raises `StartFailed`."""
        try:
            heard = {READY: self.ready.set, RATE_LIMITS_WANTED: self.rate_limits_wanted}
            listener = NotifySocket(self.home.notify_socket, heard)
        except OSError as error:
            raise StartFailed("the node agent", f"{self.home.notify_socket}: {error.strerror}") from error
        supervisor = Supervisor(self._spawn, self._changed, Supervision(_BACK_OFF))
        self._supervisor = supervisor
        task = asyncio.create_task(supervisor.run(), name="control plane")
        try:
            await self._first_start()
            yield
        finally:
            self._stopping = True
            supervisor.stop(_GRACE_SECONDS)
            await task
            listener.close()

    async def _first_start(self) -> None:
        """Wait for the first time that it is ready. One that ends before that would end again."""
        events = (self.ready, self._ended_early, self.stopping)
        waits = [asyncio.create_task(event.wait()) for event in events]
        try:
            await asyncio.wait(waits, timeout=_FIRST_START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        if self.stopping.is_set():
            raise StartFailed("the node agent", "it was stopped while it started")
        if self._ended_early.is_set():
            reason = self._supervisor.message if self._supervisor is not None else ""
            raise StartFailed("the control plane", reason or _last_line(self.log), str(self.log))
        if not self.ready.is_set():
            reason = f"it is not ready after {_FIRST_START_SECONDS:g} s"
            raise StartFailed("the control plane", reason, str(self.log))
        self._was_ready = True

    async def _spawn(self) -> Process:
        command = (sys.executable, "-m", "marline.control_plane", "--home", str(self.home.path))
        environment = {**os.environ, VARIABLE: str(self.home.notify_socket)}
        return await spawn(Launch(command, environment, directory="/", log=self.log, open_files=True))

    def _changed(self) -> None:
        self.ready.clear()
        if self._supervisor is not None and self._supervisor.process is None and not self._stopping:
            if not self._was_ready:
                self._ended_early.set()
            _log.warning("the control plane ended with %s", self._supervisor.last_exit)


def _last_line(log: Path) -> str:
    """What a process said last, as far as that fits into a sentence."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError as error:
        return f"its log cannot be read: {error.strerror}"
    return lines[-1][-500:] if lines else "it ended at once"


@dataclass(slots=True)
class Agent:
    """Answers requests of the control socket."""

    home: Home
    config: MeshConfig
    control_plane: ControlPlane
    host: Host
    stopping: asyncio.Event

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while line := await reader.readline():
                try:
                    answer = await self.answer(decode_request(line))
                except NodeError as error:
                    answer = Answer(str(error))
                writer.write(encode_answer(answer))
                await writer.drain()
        except (ConnectionError, ValueError) as error:  # ValueError: a line beyond the limit
            _log.info("a client of the control socket is gone: %s", error)
        finally:
            writer.close()

    async def answer(self, request: Request) -> Answer:
        if self.stopping.is_set():
            raise AgentRefused("the node agent is stopping")
        match request.op:
            case "up" if request.application is not None:
                await self.host.up(request.application)
                return Answer(workloads=self.host.wanted())
            case "wait":
                await self.host.ready(request.timeout)
                return Answer(workloads=self.host.wanted())
            case "down":
                return Answer(workloads=await self._down(request.names))
            case "list":
                return Answer(workloads=self._all())
            case "info":
                return Answer(info=self._info())
            case "stop":
                self.stopping.set()
                return Answer()
        raise AgentRefused(f"the node agent knows no request {request.op!r}")

    async def _down(self, names: tuple[str, ...]) -> tuple[WorkloadStatus, ...]:
        chosen = self.host.called(names)
        for item in chosen if names else ():
            if item.application == APPLICATION:
                name = item.status.name
                raise AgentRefused(f"{name} runs for a Gateway of {item.spec.namespace}; delete that instead")
        for name in names:
            if not any(item.is_called([name]) for item in chosen):
                known = ", ".join(self.host.applications) or "nothing"
                raise AgentRefused(f"there is no application, service or workload {name!r}; {known} runs")
        stopped = tuple(item.status for item in chosen)
        await self.host.end(chosen)
        return stopped

    def _all(self) -> tuple[WorkloadStatus, ...]:
        own = self.host.statuses()
        mine = {status.id for status in own}
        return (*own, *(status for status in recorded(self.home) if status.id not in mine))

    def _info(self) -> AgentInfo:
        return AgentInfo(
            pid=os.getpid(),
            mesh_id=self.config.mesh_id,
            capture=self.config.capture,
            control_plane_pid=self.control_plane.pid,
            control_plane_ready=self.control_plane.ready.is_set(),
            control_plane_restarts=self.control_plane.restarts,
            applications=self.host.applications,
        )


async def run_agent(home: Home, ready: "ReadyPipe") -> None:
    """The agent's whole life: until SIGTERM, SIGINT or a `stop`. Raises `NodeError`, `StoreError` and OSError
    if it cannot start."""
    config = load_config(home)
    if config is None:
        raise StartFailed("the node agent", f"there is no {home.config_file}")
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        stack.enter_context(hold(home))
        sweep(home)
        rate_limits = RateLimits(home)
        stack.push_async_callback(rate_limits.stop)
        control_plane = ControlPlane(home, stopping, rate_limits.start)
        await stack.enter_async_context(control_plane.running())
        machine = await stack.enter_async_context(open_machine(home, config, owner=True))
        host = Host(machine)
        stack.push_async_callback(host.close)
        deployment = GatewayDeployment(machine.store, host)
        deploying = asyncio.create_task(deployment.run(), name="deployment")
        stack.push_async_callback(ended, deploying)
        agent = Agent(home, config, control_plane, host, stopping)
        await stack.enter_async_context(_control_socket(home, agent))
        if stopping.is_set():
            raise StartFailed("the node agent", "it was stopped while it started")
        ready.say("")
        await stopping.wait()
        _log.info("stopping")
        await _end_foreign(home, host)


@asynccontextmanager
async def _control_socket(home: Home, agent: Agent) -> AsyncIterator[None]:
    before = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(agent.serve, str(home.node_socket), limit=MAX_LINE)
    finally:
        os.umask(before)
    try:
        yield
    finally:
        server.close()
        home.node_socket.unlink(missing_ok=True)


async def _end_foreign(home: Home, host: Host) -> None:
    """Ask every `marline run` of this mesh to end, and wait until it has."""
    mine = {status.id for status in host.statuses()}
    owners = {status.owner_pid for status in recorded(home) if status.id not in mine} - {os.getpid()}
    await asyncio.gather(*(end_process(pid, _FOREIGN_SECONDS) for pid in owners))


class StartReport(msgspec.Struct):
    """What the agent tells the process that started it."""

    error: str = ""


@dataclass(slots=True)
class ReadyPipe:
    """The pipe to the process that started the agent; -1: nobody waits."""

    descriptor: int

    def say(self, error: str) -> None:
        """Once; afterwards nothing."""
        if self.descriptor < 0:
            return
        with contextlib.suppress(BrokenPipeError):
            os.write(self.descriptor, msgspec.json.encode(StartReport(error)) + b"\n")
        os.close(self.descriptor)
        self.descriptor = -1


def main(arguments: list[str]) -> int:
    """`python -m marline.node.agent --home PATH [--ready-fd N] [--with-parent PID]`."""
    parser = argparse.ArgumentParser(prog="marline.node.agent", description=__doc__)
    parser.add_argument("--home", required=True)
    parser.add_argument("--ready-fd", type=int, default=-1)
    parser.add_argument("--with-parent", type=int, default=0, help="end when this process does")
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    ready = ReadyPipe(options.ready_fd)
    try:
        if options.with_parent:
            enter.die_with(options.with_parent, signal.SIGTERM)
        asyncio.run(run_agent(find_home(options.home), ready))
    except (NodeError, StoreError, OSError, enter.Refused) as error:
        _log.error("%s", error)
        ready.say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
