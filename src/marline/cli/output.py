"""What commands print: aligned tables, JSON, YAML; times as people say them.

A command describes its columns once, as functions of a row; `emit` prints rows in the form that the user
chose. Colours are for terminals only: `click.echo` removes them elsewhere, and everywhere if NO_COLOR is
set (no-color.org).
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import click

Row = TypeVar("Row")
Command = TypeVar("Command", bound=Callable[..., Any])

TABLE: Final = "table"
WIDE: Final = "wide"
JSON: Final = "json"
YAML: Final = "yaml"
NAME: Final = "name"

_GAP: Final = "   "


@dataclass(frozen=True)  # no slots: Python 3.11 cannot make frozen generic classes with them
class Column(Generic[Row]):
    """One column of a table of `Row`s."""

    title: str
    cell: Callable[[Row], object]
    right: bool = False
    """Numbers are easier to compare when they end at one place."""
    wide: bool = False
    """Only `-o wide` shows it."""


def output_option(*forms: str) -> Callable[[Command], Command]:
    """`-o table|json|yaml`, or other forms, as the parameter `output`."""
    chosen = forms or (TABLE, JSON, YAML)
    return click.option(
        "-o",
        "--output",
        type=click.Choice(chosen),
        default=chosen[0],
        show_default=True,
        help="In which form to print.",
    )


def emit(
    rows: Iterable[Row],
    columns: Sequence[Column[Row]],
    output: str = TABLE,
    *,
    empty: str = "",
    plain: Callable[[Row], Any] | None = None,
) -> None:
    """Print rows. `empty` is said, on stderr, instead of a table without rows; `plain` gives a row's
    JSON value where that is not simply its fields."""
    found = list(rows)
    if output not in (TABLE, WIDE):
        dump([plain(row) if plain else row for row in found], output)
    elif not found and empty:
        click.echo(empty, err=True)
    else:
        click.echo(table(found, columns, wide=output == WIDE))


def table(rows: Iterable[Row], columns: Sequence[Column[Row]], *, wide: bool = False) -> str:
    """Rows as an aligned table with a line of titles."""
    shown = [column for column in columns if wide or not column.wide]
    cells = [[str(column.cell(row)) for column in shown] for row in rows]
    return grid([[column.title for column in shown], *cells], right=[column.right for column in shown])


def grid(lines: Sequence[Sequence[str]], *, right: Sequence[bool] = (), indent: str = "") -> str:
    """Lines of cells as aligned text; `right`: the columns that are aligned so."""
    widths: list[int] = []
    for line in lines:
        for index, cell in enumerate(line):
            if index == len(widths):
                widths.append(0)
            widths[index] = max(widths[index], visible_width(cell))
    to_right = [*right, *(False for _ in widths[len(right) :])]
    return "\n".join(
        (indent + _GAP.join(_pad(*cell) for cell in zip(line, widths, to_right, strict=False))).rstrip()
        for line in lines
    )


def _pad(cell: str, width: int, right: bool) -> str:
    missing = " " * (width - visible_width(cell))
    return missing + cell if right else cell + missing


def visible_width(text: str) -> int:
    """How many columns a text takes on a terminal, its colours left out."""
    return len(click.unstyle(text))


def dump(value: Any, output: str) -> None:
    """Print a value (also one of structs or dataclasses) as JSON or YAML."""
    click.echo((to_yaml if output == YAML else to_json)(value))


def to_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=_builtin)


def to_yaml(value: Any) -> str:
    from marline.api.yaml_values import write_yaml  # not needed by most commands

    return write_yaml(_builtin(value)).rstrip()


def _builtin(value: Any) -> Any:
    import msgspec  # not needed by most commands

    return msgspec.to_builtins(value, str_keys=True)


def milliseconds(value: float) -> str:
    """A latency: `0.8ms`, `12ms`, `3.2s`."""
    if value >= 1000:
        return f"{value / 1000:.1f}s"
    return f"{value:.1f}ms" if value < 10 else f"{value:.0f}ms"


def good(text: str) -> str:
    return click.style(text, fg="green")


def doubtful(text: str) -> str:
    return click.style(text, fg="yellow")


def bad(text: str) -> str:
    return click.style(text, fg="red")
