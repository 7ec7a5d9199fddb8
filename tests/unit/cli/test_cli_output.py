"""Tables, times, JSON and YAML as commands print them."""

from dataclasses import dataclass

import click
import msgspec
import pytest

from marline.cli.output import (
    Column,
    bad,
    emit,
    good,
    grid,
    milliseconds,
    table,
    to_json,
    to_yaml,
)


class Pair(msgspec.Struct, frozen=True, rename="camel"):
    first_name: str
    size: int


@dataclass(frozen=True)
class Point:
    x: int


COLUMNS = (
    Column[Pair]("NAME", lambda row: row.first_name),
    Column[Pair]("SIZE", lambda row: row.size, right=True),
    Column[Pair]("TWICE", lambda row: row.size * 2, wide=True),
)
ROWS = (Pair("a", 5), Pair("longer", 1234))


def test_columns_are_aligned_and_numbers_end_at_one_place() -> None:
    assert table(ROWS, COLUMNS) == "NAME     SIZE\na           5\nlonger   1234"


def test_wide_columns_show_only_when_asked_for() -> None:
    assert "TWICE" not in table(ROWS, COLUMNS)
    assert "2468" in table(ROWS, COLUMNS, wide=True)


def test_colours_do_not_disturb_the_alignment() -> None:
    plain = grid([("STATE", "NAME"), ("ready", "a"), ("failed", "b")])
    coloured = grid([("STATE", "NAME"), (good("ready"), "a"), (bad("failed"), "b")])
    assert coloured != plain
    assert click.unstyle(coloured) == plain


def test_no_line_ends_with_blanks() -> None:
    assert all(line == line.rstrip() for line in grid([("a", ""), ("long", "x")]).splitlines())


def test_no_rows_are_said_on_stderr_in_a_table_and_are_a_list_in_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    emit([], COLUMNS, empty="there are none")
    assert capsys.readouterr() == ("", "there are none\n")
    emit([], COLUMNS, "json", empty="there are none")
    assert capsys.readouterr() == ("[]\n", "")


def test_json_and_yaml_have_the_names_of_structs_and_dataclasses() -> None:
    assert to_json(ROWS[:1]) == '[\n  {\n    "firstName": "a",\n    "size": 5\n  }\n]'
    assert to_yaml({"pair": ROWS[0], "point": Point(3)}) == (
        "pair:\n  firstName: a\n  size: 5\npoint:\n  x: 3"
    )


@pytest.mark.parametrize(("value", "said"), [(0.84, "0.8ms"), (12.4, "12ms"), (3210, "3.2s")])
def test_latencies_have_two_digits_that_matter(value: float, said: str) -> None:
    assert milliseconds(value) == said
