"""Starting and stopping a machine's node agent: what `marline up` and `marline down` do first and last."""

import asyncio
import fcntl
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from marline.node.capture import choose_capture, remove_leftovers
from marline.node.errors import AlreadyRunning, Busy, HomeUnusable, NotRunning, StartFailed
from marline.node.home import Home, MeshConfig, agent_pid, load_config, new_mesh_id, save_config
from marline.node.ports import Reservations
from marline.node.process import end_process
from marline.node.records import recorded, sweep

START_SECONDS: Final = 90.0
STOP_SECONDS: Final = 150.0
"""More than what runs in order at the end takes at most: other runners, gateways, workloads with their grace
periods (`application.MAX_GRACE`), the control plane."""
_POLL_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class StartSettings:
    """What a user may say at `marline up`; None: as it was, or the default."""

    capture: str = "auto"
    """`auto`, `transparent` or `explicit`."""
    api_port: int | None = None
    trust_domain: str | None = None
    svid_ttl_seconds: int | None = None
    plugin_ca: str | None = None


def resolve_config(home: Home, settings: StartSettings) -> tuple[MeshConfig, tuple[str, ...]]:
    """What the mesh is to be, and notes on what it falls back to. Raises `NodeError`."""
    before = load_config(home)
    capture, notes = choose_capture(settings.capture)
    config = before or MeshConfig(mesh_id=new_mesh_id())
    if before is not None and settings.trust_domain not in (None, before.trust_domain):
        raise HomeUnusable(
            str(home.path), f"its trust domain is {before.trust_domain!r} and cannot change; use another home"
        )
    changes = {
        "api_port": settings.api_port,
        "trust_domain": settings.trust_domain,
        "svid_ttl_seconds": settings.svid_ttl_seconds,
        "plugin_ca": settings.plugin_ca,
    }
    config = msgspec.structs.replace(
        config, capture=capture, **{name: value for name, value in changes.items() if value is not None}
    )
    if not config.api_port:
        config = msgspec.structs.replace(config, api_port=_free_port())
    return config, notes


def _free_port() -> int:
    reservations = Reservations()
    try:
        return reservations.port()
    finally:
        reservations.release()


async def start_detached(
    home: Home, settings: StartSettings | None = None, *, with_this_process: bool = False
) -> tuple[str, ...]:
    """Start the node agent and with it the control plane, in the background; returns when both are ready,
    with notes on what this machine cannot do. `with_this_process`: all of it ends when this process does,
    also when that is killed (to be called in the main thread).

    Raises `AlreadyRunning`, `StartFailed`, `NodeError`.
    """
    home.create()
    async with _changing(home):
        pid = agent_pid(home)
        if pid is not None:
            raise AlreadyRunning(str(home.path), pid)
        config, notes = resolve_config(home, settings or StartSettings())
        save_config(home, config)
        await _start_agent(home, with_this_process=with_this_process)
    return notes


@asynccontextmanager
async def _changing(home: Home) -> AsyncIterator[None]:
    """Only one command at a time starts this mesh or cleans up after it. Raises `Busy`, `HomeUnusable`."""
    try:
        descriptor = os.open(home.run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise HomeUnusable(str(home.run), f"cannot be read: {error.strerror}") from error
    try:
        deadline = asyncio.get_running_loop().time() + STOP_SECONDS
        while not _locked(descriptor):  # another process's lock: nobody tells when it is free
            if asyncio.get_running_loop().time() > deadline:
                raise Busy(str(home.path))
            await asyncio.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _start_agent(home: Home, *, with_this_process: bool) -> None:
    log = home.log / "node.log"
    receiving, sending = os.pipe()
    agent: subprocess.Popen[bytes] | None = None
    try:
        command = ["-m", "marline.node.agent", "--home", str(home.path), "--ready-fd", str(sending)]
        if with_this_process:
            command += ["--with-parent", str(os.getpid())]
        try:
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                agent = subprocess.Popen(  # noqa: ASYNC220 (it returns at once)
                    [sys.executable, *command],
                    stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    pass_fds=(sending,), start_new_session=True, cwd="/",
                )  # fmt: skip
            finally:
                os.close(output)
        except OSError as error:
            os.close(receiving)
            raise StartFailed("the node agent", error.strerror or str(error), str(log)) from error
        finally:
            os.close(sending)
        await _await_report(receiving, str(log))
    except BaseException:
        if agent is not None:
            # It may not hold the home yet, by which `stop` would find it.
            await end_process(agent.pid, STOP_SECONDS)
            agent.wait()
        if agent_pid(home) is None:
            await _clean(home)
        raise


async def _await_report(descriptor: int, log: str) -> None:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: protocol, os.fdopen(descriptor, "rb", buffering=0)
    )
    try:
        async with asyncio.timeout(START_SECONDS):
            line = await reader.readline()
    except TimeoutError:
        raise StartFailed("the node agent", f"it is not ready after {START_SECONDS:g} s", log) from None
    finally:
        transport.close()
    if not line:
        raise StartFailed("the node agent", "it ended at once", log)
    error = msgspec.json.decode(line)["error"]
    if error:
        raise StartFailed("the mesh", error)


async def stop(home: Home) -> bool:
    """End the node agent with everything that it runs, and remove what killed ones have left behind.
    Returns whether there was one. Raises `NodeError`."""
    if not home.run.is_dir():
        return False
    stopped = await _end_agent(home)
    async with _changing(home):
        # One that was not there yet when it was looked for, since it was just being started.
        stopped = await _end_agent(home) or stopped
        for status in recorded(home):
            await end_process(status.owner_pid, STOP_SECONDS)
        await _clean(home)
    return stopped


async def _end_agent(home: Home) -> bool:
    pid = agent_pid(home)
    return pid is not None and await end_process(pid, STOP_SECONDS)


async def _clean(home: Home) -> None:
    sweep(home)
    config = load_config(home)
    if config is not None:
        await remove_leftovers(config.mesh_id)
        home.sweep_endpoint(config)


async def require_running(home: Home) -> int:
    """The agent's pid. Raises `NotRunning`."""
    pid = agent_pid(home)
    if pid is None:
        raise NotRunning(str(home.path))
    return pid
