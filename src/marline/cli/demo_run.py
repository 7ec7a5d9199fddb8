"""The course of `marline demo`, and how it is interrupted."""

import asyncio
import signal
import time
from dataclasses import dataclass
from typing import Final

import click

from marline.cli.demo_mesh import DemoMesh, choose_port, demo_home, demo_mesh
from marline.cli.demo_traffic import Visitor, visitor
from marline.cli.exits import ExitCode
from marline.cli.live import Screen, screen
from marline.cli.mesh_tables import render
from marline.cli.mesh_view import MeshView, Observer
from marline.cli.options import Settings
from marline.cli.output import JSON, TABLE, YAML, dump, milliseconds
from marline.cli.smoke import expected_pairs, is_complete, summarize
from marline.cli.status_run import json_line
from marline.node.machine import ended

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PER_SECOND: Final = 5.0
_REDRAW_SECONDS: Final = 1.0
_LINE_SECONDS: Final = 5.0
_REPORT_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.1
_ENTRANCE: Final = "productpage"


@dataclass(slots=True)
class Interruption:
    """The first SIGINT, SIGTERM or SIGHUP ends what is under way, in order; later ones change nothing."""

    task: asyncio.Task[object]
    received: signal.Signals | None = None
    running: bool = False
    """Everything was up, so that Ctrl-C is the usual end."""

    def install(self) -> None:
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._take, number)

    def _take(self, number: signal.Signals) -> None:
        if self.received is not None:
            click.echo("marline: everything is being stopped; a moment, please", err=True)
            return
        self.received = number
        self.task.cancel()

    @property
    def exit_code(self) -> int:
        if self.running and self.received is signal.SIGINT:
            return ExitCode.OK
        return 128 + (self.received or 0)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    smoke: bool
    requests: int
    port: int
    capture: str
    output: str


def run(settings: Settings, options: Options) -> int:
    """The whole demo; returns the exit code."""
    return asyncio.run(_interruptible(settings, options))


async def _interruptible(settings: Settings, options: Options) -> int:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 (tells the type checker)
    interruption = Interruption(task)
    interruption.install()
    try:
        return await _demo(settings, options, interruption)
    except asyncio.CancelledError:
        if interruption.received is None:
            raise
        return interruption.exit_code
    finally:
        if interruption.received is not None:
            click.echo("marline: everything is stopped", err=True)


async def _demo(settings: Settings, options: Options, interruption: Interruption) -> int:
    port = choose_port(options.port)
    async with (
        demo_home(settings) as home,
        demo_mesh(home, options.capture, port) as mesh,
        visitor(mesh.url) as visiting,
    ):
        click.echo(
            f"Bookinfo is at {mesh.url} ({mesh.capture} capture, ready after {mesh.seconds_to_ready:.1f} s)",
            err=True,
        )
        if options.smoke:
            return await _smoke(mesh, visiting, options)
        interruption.running = True
        visits = asyncio.create_task(visiting.keep_visiting(_PER_SECOND), name="visits")
        try:
            await _show(mesh, visiting, options.output)
        finally:
            await ended(visits)
    return ExitCode.OK


async def _smoke(mesh: DemoMesh, visiting: Visitor, options: Options) -> int:
    for _ in range(options.requests):
        await visiting.visit()
    expected = expected_pairs(mesh.application, _ENTRANCE)
    observer = Observer(mesh.home)
    deadline = time.monotonic() + _REPORT_SECONDS
    view = await observer.look()
    while not is_complete(view, visiting, expected) and time.monotonic() < deadline:
        await asyncio.sleep(_POLL_SECONDS)  # proxies tell their counts to those who ask
        view = await observer.look()
    summary = summarize(
        view,
        visiting,
        expected,
        url=mesh.url,
        capture=mesh.capture,
        seconds_to_ready=mesh.seconds_to_ready,
    )
    dump(summary, YAML if options.output == YAML else JSON)
    for problem in summary.problems:
        click.echo(f"marline: {problem}", err=True)
    return ExitCode.OK if summary.ok else ExitCode.FAILED


async def _show(mesh: DemoMesh, visiting: Visitor, output: str) -> None:
    """For ever."""
    observer = Observer(mesh.home)
    if output != TABLE:
        while True:
            view = await observer.look()
            if output == JSON:
                click.echo(json_line(view))
            else:
                click.echo("---")
                dump(view, output)
            await asyncio.sleep(_REDRAW_SECONDS)
    with screen() as terminal:
        while True:
            view = await observer.look()
            _draw(terminal, mesh, visiting, view)
            await asyncio.sleep(_REDRAW_SECONDS if terminal is not None else _LINE_SECONDS)


def _draw(terminal: Screen | None, mesh: DemoMesh, visiting: Visitor, view: MeshView) -> None:
    if terminal is None:
        click.echo(one_line(view, visiting))
        return
    title = click.style(mesh.url, bold=True)
    failed = f", {visiting.failed} failed ({visiting.failures[-1]})" if visiting.failed else ""
    sent = f"{visiting.sent} requests sent{failed}"
    head = f"Bookinfo at {title}   {mesh.capture} capture   {sent}   Ctrl-C ends it"
    terminal.draw(f"{head}\n\n{render(view, width=terminal.width)}")


def one_line(view: MeshView, visiting: Visitor) -> str:
    """The state of the demo for a log."""
    ready = sum(item.status.ready for item in view.workloads)
    line = f"{ready} of {len(view.workloads)} workloads ready"
    line += f", {visiting.sent} requests sent, {visiting.failed} failed"
    entered = [item for item in view.traffic if item.destination.service == _ENTRANCE]
    for item in entered[:1]:
        p50, p99 = item.p50_milliseconds, item.p99_milliseconds
        line += f", {item.requests_per_second or 0:.1f} a second"
        if p50 is not None and p99 is not None:
            line += f", p50 {milliseconds(p50)}, p99 {milliseconds(p99)}"
    return line
