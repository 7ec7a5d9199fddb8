"""The mesh of `marline demo`: started, given Bookinfo, waited for, and removed again."""

import asyncio
import contextlib
import errno
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from marline.cli.apply import write
from marline.cli.batch import make_batch
from marline.cli.exits import Failed
from marline.cli.files import read_files
from marline.cli.mesh import connected_proxies, open_api
from marline.cli.options import Settings
from marline.cli.progress import progress
from marline.cli.workloads import complaints
from marline.node.application import Application, parse, with_interpreter
from marline.node.control import NodeClient
from marline.node.errors import AlreadyRunning, HomeUnusable
from marline.node.home import VARIABLE, Home
from marline.node.lifecycle import StartSettings, start_detached, stop
from marline.node.ports import Reservations
from marline.node.workload import WorkloadStatus
from marline.samples.bookinfo import APPLICATION_FILE, NETWORKING
from marline.store.remote.client import RemoteStore
from marline.xds.status import SYNCED

ADDRESS: Final = "127.0.0.1"
RESOURCES: Final = ("bookinfo-gateway.yaml", "destination-rule-all.yaml")
_READY_SECONDS: Final = 90.0
_SYNC_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.05
_LOG_LINES: Final = 5


@dataclass(frozen=True, slots=True)
class DemoMesh:
    """A mesh in which Bookinfo answers."""

    home: Home
    application: Application
    url: str
    capture: str
    seconds_to_ready: float


def choose_port(wanted: int) -> int:
    """The ingress gateway's port: this one, or with 0 a free one. Raises `Failed` if it cannot be had."""
    if wanted == 0:
        reservations = Reservations()
        try:
            return reservations.port(ADDRESS)
        finally:
            reservations.release()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((ADDRESS, wanted))
            trial.listen(1)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            reason = "another program has it" if taken else f"it cannot be had: {error.strerror}"
            raise Failed(
                f"the demo's ingress gateway needs port {wanted} of {ADDRESS}, but {reason}; "
                "choose another one with --port, or a free one with --port 0"
            ) from error
    return wanted


@asynccontextmanager
async def demo_home(settings: Settings) -> AsyncIterator[Home]:
    """The home that was asked for, else one for this block. Its mesh is stopped at the end."""
    asked = bool(settings.home_path or os.environ.get(VARIABLE))
    home = settings.home if asked else _fresh_home()
    try:
        yield home
    finally:
        if not asked:
            shutil.rmtree(home.path)


def _fresh_home() -> Home:
    """A directory of a short path: the paths of Unix sockets below it are limited."""
    path = Path(tempfile.mkdtemp(prefix="mrl-"))
    try:
        Home(path).check_length()
    except HomeUnusable:
        path.rmdir()
        path = Path(tempfile.mkdtemp(prefix="mrl-", dir="/tmp"))
    return Home(path)


@asynccontextmanager
async def demo_mesh(home: Home, capture: str, port: int) -> AsyncIterator[DemoMesh]:
    """Bookinfo in a mesh, ready, while this block lasts. Raises `NodeError`, `StoreError` and `Failed`."""
    begun = time.monotonic()
    application = bookinfo(port)
    ours = True
    try:
        try:
            async with progress("starting the mesh"):
                notes = await start_detached(home, StartSettings(capture=capture), with_this_process=True)
        except AlreadyRunning:
            ours = False
            raise
        for note in notes:
            click.echo(f"note: {note}", err=True)
        await _set_up(home, application)
        info = await NodeClient(home).info()
        url = f"http://{ADDRESS}:{port}/productpage"
        yield DemoMesh(home, application, url, info.capture, time.monotonic() - begun)
    finally:
        if ours:
            await _to_the_end(_stop(home))


async def _stop(home: Home) -> None:
    async with progress("stopping everything"):
        await stop(home)


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Do this, also if the task that waits for it is cancelled meanwhile: then it is so afterwards."""
    doing = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not doing.done():
        try:
            await asyncio.shield(doing)
        except asyncio.CancelledError as error:
            cancelled = error
    doing.result()
    if cancelled is not None:
        raise cancelled


async def _set_up(home: Home, application: Application) -> None:
    async with open_api(home) as store:
        batch = make_batch(read_files(tuple(NETWORKING / name for name in RESOURCES)), None)
        await write(store, batch, force=True)
        await _bring_up(home, application)
        async with progress("waiting until all proxies have their configuration"):
            await _in_sync(store, len(application.workloads) + len(application.gateways))


def bookinfo(port: int) -> Application:
    """The sample's application file, with its gateway at this port."""
    text = APPLICATION_FILE.read_text(encoding="utf-8")
    application = with_interpreter(parse(text, str(APPLICATION_FILE)), sys.executable)
    (gateway,) = application.gateways
    (way_in,) = gateway.ports
    gateway = msgspec.structs.replace(gateway, ports=(msgspec.structs.replace(way_in, listen=port),))
    return msgspec.structs.replace(application, gateways=(gateway,))


async def _bring_up(home: Home, application: Application) -> None:
    client = NodeClient(home)
    async with progress("starting Bookinfo"):
        await client.up(application)
        workloads = await client.wait(_READY_SECONDS)
    if not all(item.ready for item in workloads):
        raise Failed(f"Bookinfo is not ready:\n{complaints(workloads)}{_last_words(workloads)}")


def _last_words(workloads: Sequence[WorkloadStatus]) -> str:
    """The ends of the logs of those that are not ready: the logs may be gone when somebody looks."""
    found = ""
    for item in workloads:
        if not item.ready and item.log_file:
            with contextlib.suppress(FileNotFoundError):
                lines = Path(item.log_file).read_text(errors="replace").splitlines()[-_LOG_LINES:]
                found += "".join(f"\n  {item.name}| {line}" for line in lines)
    return found


async def _in_sync(store: RemoteStore, proxies: int) -> None:
    """Until all proxies have what follows from everything that is stored now. Raises `Failed`."""
    wanted = int((await store.list("networking.istio.io", "WorkloadEntry")).resource_version)
    deadline = time.monotonic() + _SYNC_SECONDS
    while True:
        found = await connected_proxies(store)
        missing = [item.name for item in found.proxies if item.state != SYNCED]
        is_new = int(found.resource_version or 0) >= wanted
        if is_new and not missing and len(found.proxies) >= proxies:
            return
        if time.monotonic() > deadline:
            names = ", ".join(missing) or f"only {len(found.proxies)} of {proxies} are connected"
            raise Failed(f"not all proxies have their newest configuration: {names}")
        await asyncio.sleep(_POLL_SECONDS)  # the control plane tells proxies' states to those who ask
