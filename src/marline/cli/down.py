"""`marline down`: stop applications, services or workloads; without names the whole mesh."""

import asyncio
from collections.abc import Sequence
from typing import Final

import click

from marline.cli.completing import complete_workload
from marline.cli.exits import Missing
from marline.cli.options import Settings, mesh_options
from marline.cli.output import JSON, TABLE, YAML, dump, output_option
from marline.cli.progress import progress
from marline.node.control import NodeClient
from marline.node.home import Home
from marline.node.lifecycle import stop
from marline.node.process import end_process
from marline.node.records import recorded
from marline.node.workload import WorkloadStatus

_GRACE_SECONDS: Final = 60.0


@click.command()
@click.argument("names", nargs=-1, shell_complete=complete_workload)
@output_option(TABLE, JSON, YAML)
@mesh_options
@click.pass_obj
def command(settings: Settings, names: tuple[str, ...], output: str) -> None:
    """Stop the applications, services or workloads NAMES; without any, everything and the control plane.

    Each workload ends in order: it gets no new requests, finishes those under way, then its application
    ends, then its proxy. Resources and the certificate authority stay in the mesh's directory.
    """
    stopped = asyncio.run(_stop_named(settings.home, names) if names else _stop_all(settings.home))
    if output != TABLE:
        dump(stopped, output)
        return
    for item in stopped:
        click.echo(f"{item.name} stopped")


async def _stop_all(home: Home) -> tuple[WorkloadStatus, ...]:
    running = recorded(home)  # from files: an agent that does not answer any more must end, too
    async with progress("stopping the mesh"):
        stopped = await stop(home)
    click.echo("the mesh is stopped" if stopped else f"no mesh is running in {home.path}", err=True)
    return running


async def _stop_named(home: Home, names: tuple[str, ...]) -> tuple[WorkloadStatus, ...]:
    client = NodeClient(home)
    running = await client.list()
    check_known(names, running)
    hosted = [item for item in running if item.application]
    alone = [item for item in running if not item.application and is_called(item, names)]
    rest = tuple(name for name in names if any(is_called(item, (name,)) for item in hosted))
    async with progress(f"stopping {', '.join(names)}"):
        stopped = await client.down(rest) if rest else ()
        await asyncio.gather(*(end_process(item.owner_pid, _GRACE_SECONDS) for item in alone))
    return (*stopped, *alone)


def is_called(workload: WorkloadStatus, names: tuple[str, ...]) -> bool:
    """Is it one of these names: its own, its service's, its application's?"""
    return not {workload.name, workload.service, workload.application}.isdisjoint(names)


def check_known(names: tuple[str, ...], running: Sequence[WorkloadStatus]) -> None:
    """Raises `Missing` for a name that nothing has."""
    for name in names:
        if not any(is_called(item, (name,)) for item in running):
            known = {item.application or item.name for item in running}
            listed = ", ".join(sorted(known)) or "nothing"
            raise Missing(f"there is no application, service or workload {name!r}; running: {listed}")
