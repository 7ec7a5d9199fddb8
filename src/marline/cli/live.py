"""A terminal that shows one text, kept up to date in place."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import click

_HOME: Final = "\x1b[H"
_CLEAR_REST_OF_LINE: Final = "\x1b[K"
_CLEAR_BELOW: Final = "\x1b[J"
_ENTER: Final = "\x1b[?1049h\x1b[?25l"
"""The alternate screen (xterm's "DECSET 1049"), so that what was there before is there afterwards; no
cursor."""
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_END_OF_STYLE: Final = "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Screen:
    """Draws over what it has drawn before."""

    @property
    def width(self) -> int:
        """Columns; people change it while they look."""
        return shutil.get_terminal_size().columns

    def draw(self, text: str) -> None:
        """Show this; what does not fit the terminal is cut off."""
        width, height = shutil.get_terminal_size()
        lines = [cut(line, width) + _CLEAR_REST_OF_LINE for line in text.split("\n")[:height]]
        click.echo(_HOME + "\n".join(lines) + _CLEAR_BELOW, nl=False)


def cut(line: str, width: int) -> str:
    """The beginning of a line that takes at most so many columns; colours take none."""
    plain = click.unstyle(line)
    if len(plain) <= width:
        return line
    if plain == line:
        return line[:width]
    kept, position = 0, 0
    while position < len(line) and kept < width:
        if line[position] == "\x1b":
            position = line.index("m", position) + 1
            continue
        position, kept = position + 1, kept + 1
    return line[:position] + _END_OF_STYLE


@contextmanager
def screen() -> Iterator[Screen | None]:
    """The terminal within this block; None if the output is not one."""
    if not sys.stdout.isatty():
        yield None
        return
    click.echo(_ENTER, nl=False)
    try:
        yield Screen()
    finally:
        click.echo(_LEAVE, nl=False)
