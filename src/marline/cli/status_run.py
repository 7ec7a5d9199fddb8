"""Looking at a mesh for `marline status`: once, or again and again."""

import asyncio
import json
from typing import Final

import click
import msgspec

from marline.cli.live import Screen, screen
from marline.cli.mesh_tables import render
from marline.cli.mesh_view import MeshView, Observer
from marline.cli.output import JSON, TABLE, WIDE, YAML, dump
from marline.node.home import Home

_INTERVAL_SECONDS: Final = 1.0


def once(home: Home, output: str) -> None:
    """Print the mesh; if there is traffic, with its rates of one second."""
    asyncio.run(_once(home, output))


def until_interrupted(home: Home, output: str) -> None:
    """Keep the terminal up to date, or print one document after the other."""
    asyncio.run(_watch(home, output))


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
