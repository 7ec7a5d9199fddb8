"""The options that every command takes, before or after its name: which mesh, and how errors look."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from marline.node.home import Home

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(slots=True)
class Settings:
    """What the options of this module say; `click.Context.obj` of every command."""

    home_path: str = ""
    debug: bool = False

    @property
    def home(self) -> "Home":
        """The home of the mesh that is meant."""
        from marline.node.home import find_home  # `--help` and `version` do without

        return find_home(self.home_path)


def _set_home(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value:
        context.ensure_object(Settings).home_path = value


def _set_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Settings).debug = True


def mesh_options(command: Command) -> Command:
    """`--home` and `--debug`. The command gets `Settings` with `click.pass_obj`."""
    home = click.option(
        "--home",
        metavar="PATH",
        expose_value=False,
        callback=_set_home,
        help="The mesh's directory (default: $MARLINE_HOME or ~/.marline).",
    )
    debug = click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=_set_debug,
        help="Show where in the program an error arose.",
    )
    return home(debug(command))
