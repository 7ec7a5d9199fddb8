"""Errors of all rooms as what a user reads on stderr, and as exit codes."""

import traceback

import click

from marline.api.errors import InvalidResource
from marline.cli.exits import ExitCode
from marline.cli.options import Settings
from marline.identity.errors import IdentityError
from marline.node.errors import AdminError, NodeError, NotRunning
from marline.store.interface import Conflict, NotFound, StoreError

_EXPECTED = (NodeError, StoreError, InvalidResource, AdminError, IdentityError)


def exit_code(error: Exception) -> ExitCode:
    """What the shell is told about an error."""
    if isinstance(error, NotRunning):
        return ExitCode.NO_MESH
    if isinstance(error, NotFound):
        return ExitCode.NOT_FOUND
    return ExitCode.FAILED


def explain(error: Exception) -> str:
    """An error that was to be expected, in words for a user."""
    if isinstance(error, Conflict) and error.causes:
        fields = "".join(
            f"\n  {cause.get('field', '')}: {cause.get('message', '')}" for cause in error.causes
        )
        return f"{error.ref}: others own fields that would change:{fields}\n--force-conflicts takes them over"
    return str(error)


def report(error: Exception, settings: Settings) -> ExitCode:
    """Say an error on stderr; with `--debug` also where it arose."""
    if settings.debug:
        traceback.print_exception(error)
    if isinstance(error, _EXPECTED):
        click.echo(f"marline: {explain(error)}", err=True)
    else:
        known = f"{type(error).__name__}: {error}".rstrip(": ")
        hint = "" if settings.debug else "; --debug shows where it arose"
        click.echo(f"marline: this should not happen: {known}{hint}", err=True)
    return exit_code(error)
