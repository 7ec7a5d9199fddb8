"""The exit codes of `marline`, which scripts may rely on, and the ends of commands that carry them."""

from enum import IntEnum
from typing import Final

import click


class ExitCode(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    NO_MESH = 3
    NOT_FOUND = 4
    CANNOT_TELL = 5
    INTERRUPTED = 130


MEANINGS: Final = {
    ExitCode.OK: "it was done",
    ExitCode.FAILED: "it was refused or it failed",
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.NO_MESH: "no mesh is running",
    ExitCode.NOT_FOUND: "what was named is not there",
    ExitCode.CANNOT_TELL: "it cannot be told (explain), or not be found out (diff)",
    ExitCode.INTERRUPTED: "it was interrupted",
}


class Failed(click.ClickException):
    """Ends a command with one sentence on stderr."""

    exit_code = ExitCode.FAILED


class Missing(click.ClickException):
    """What was named on the command line is not there."""

    exit_code = ExitCode.NOT_FOUND


class CannotTell(click.ClickException):
    """What was asked could not be found out."""

    exit_code = ExitCode.CANNOT_TELL
