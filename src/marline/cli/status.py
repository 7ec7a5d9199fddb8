"""`marline status`: every workload with its identity and its proxy's state, and the traffic between them."""

import asyncio
import json
from typing import Final

import click
import msgspec

from marline.cli.live import Screen, screen
from marline.cli.mesh_tables import render
from marline.cli.mesh_view import MeshView, Observer
from marline.cli.options import Settings, mesh_options
from marline.cli.output import JSON, TABLE, WIDE, YAML, dump, output_option
from marline.node.home import Home

_INTERVAL_SECONDS: Final = 1.0


@click.command()
@click.option("-w", "--watch", is_flag=True, help="Keep showing, once a second, until Ctrl-C.")
@output_option(TABLE, WIDE, JSON, YAML)
@mesh_options
@click.pass_obj
def command(settings: Settings, watch: bool, output: str) -> None:
    """Show every workload of this machine, its identity, its proxy's state, and who calls whom.

    Requests per second are those of the last second (with --watch: of the last ten). Successes are
    answers other than 5xx. Requests, successes and latencies are as the caller's proxy sees them; identities
    are those that the other end has verified. -o wide shows those of each pair, too.

    With --watch and -o json there is one JSON document on each line.
    """
    asyncio.run(_watch(settings.home, output) if watch else _once(settings.home, output))


async def _once(home: Home, output: str) -> None:
    observer = Observer(home)
    view = await observer.look()
    if view.traffic:
        await asyncio.sleep(_INTERVAL_SECONDS)
        view = await observer.look()
    if output in (TABLE, WIDE):
        click.echo(render(view, wide=output == WIDE))
    else:
        dump(view, output)


async def _watch(home: Home, output: str) -> None:
    observer = Observer(home)
    if output in (JSON, YAML):
        while True:
            _document(await observer.look(), output)
            await asyncio.sleep(_INTERVAL_SECONDS)
    with screen() as terminal:
        while True:
            view = await observer.look()
            width = terminal.width if terminal is not None else 0
            show(terminal, render(view, wide=output == WIDE, width=width))
            await asyncio.sleep(_INTERVAL_SECONDS)


def _document(view: MeshView, output: str) -> None:
    """One of a stream of documents."""
    if output == YAML:
        click.echo("---")
        dump(view, output)
    else:
        click.echo(json_line(view))


def json_line(value: object) -> str:
    """A value as JSON on one line."""
    return json.dumps(msgspec.to_builtins(value), ensure_ascii=False)


def show(terminal: Screen | None, text: str) -> None:
    """Draw, or where there is no terminal print below what was printed before."""
    if terminal is not None:
        terminal.draw(text)
    else:
        click.echo(text + "\n")
