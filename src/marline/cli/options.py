"""The options that every command takes, before or after its name: which mesh, and how errors look."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
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
    def directory(self) -> Path:
        """Where the mesh that is meant is: as given, else `$MARLINE_HOME`, else `~/.marline`."""
        chosen = self.home_path or os.environ.get("MARLINE_HOME") or "~/.marline"
        return Path(chosen).expanduser().absolute()

    @property
    def home(self) -> "Home":
        """The layout of that directory."""
        from marline.node.home import Home  # `--help` and `version` do without

        return Home(self.directory)


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


def timeout_option(default: str) -> Callable[[Command], Command]:
    """`--timeout`, as the parameter `timeout` in seconds."""
    return click.option(
        "--timeout", metavar="DURATION", callback=seconds, default=default, show_default=True,
        help="How long to wait.",
    )  # fmt: skip


def seconds(_: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """A callback for options that take a span of time, such as `90s` or `24h`."""
    from marline.api.scalars import Duration  # few commands need it

    if value is None:
        return None
    try:
        found = float(Duration.parse(value))
    except ValueError as error:
        raise click.BadParameter(str(error), param=parameter) from error
    if found <= 0:
        raise click.BadParameter(f"{value!r} is not longer than nothing", param=parameter)
    return found
