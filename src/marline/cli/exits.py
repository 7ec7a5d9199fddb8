"""The exit codes of `marline`, which scripts may rely on."""

from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    NO_MESH = 3
    NOT_FOUND = 4
    INTERRUPTED = 130


MEANINGS: Final = {
    ExitCode.OK: "it was done",
    ExitCode.FAILED: "it was refused or it failed",
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.NO_MESH: "no mesh is running",
    ExitCode.NOT_FOUND: "what was named is not there",
    ExitCode.INTERRUPTED: "it was interrupted",
}
