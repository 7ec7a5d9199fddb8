"""Whatever is written as a regular expression is read or refused, and nothing worse."""

import re
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marline.api.re2 import NotRe2, to_python

PARTS = st.sampled_from(
    [*"ab1é[](){}*+?|^$.-,:<>=!\\", "[:", ":]", "[[:alpha:]]", "[^", r"\d", r"\pL", r"\p{Greek}", r"\Q",
     r"\E", r"\x{41}", r"\x", r"\07", r"\1", "(?", "(?i)", "(?P<a>", "(?<b>", "(?-s:", "{2,3}", "{1000}",
     "&&", "--"]
)  # fmt: skip


@settings(max_examples=1000, deadline=None)
@given(st.lists(PARTS, max_size=12).map("".join))
def test_what_is_read_is_an_expression_of_pythons_and_nothing_else_happens(pattern: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = to_python(pattern)
        except NotRe2 as error:
            assert str(error)
        else:
            re.compile(found.pattern, re.ASCII)


def test_groups_in_groups_end_somewhere() -> None:
    to_python("(" * 90 + ")" * 90)
    with pytest.raises(NotRe2, match="groups in each other"):
        to_python("(" * 5000 + ")" * 5000)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("[[:^alpha:]]+", "12.", True), (r"\Qa.b\E+", "a.bb", True), (r"\Qa.b\E", "axb", False),
        (r"[\d-a]+", "1-a", True), (r"a\z", "a\n", False), ("(?<year>[0-9]{4})", "2026", True),
        (r"\x{e9}\101", "éA", True), ("a{,3}", "a{,3}", True), (r"\w", "é", False), (r"\s", "\v", False),
    ],
)  # fmt: skip
def test_what_is_read_means_what_it_means_to_re2(pattern: str, text: str, matches: bool) -> None:
    found = to_python(pattern)
    assert found.is_exact
    assert bool(re.fullmatch(found.pattern, text, re.ASCII)) is matches
