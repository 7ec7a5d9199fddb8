"""Differences of two values, as lines that one can read."""

from hypothesis import given, settings
from hypothesis import strategies as st

from marline.explain.differing import differences

VALUES = st.recursive(
    st.one_of(st.integers(), st.text(max_size=3), st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("ab", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


def test_a_value_that_changed_is_one_line_with_its_path() -> None:
    before = {"routes": [{"name": "a", "timeout": "1s"}, {"name": "b"}]}
    after = {"routes": [{"name": "a", "timeout": "3s"}, {"name": "b"}]}
    assert list(differences(before, after)) == ['routes[0].timeout: "1s" → "3s"']


def test_items_that_come_and_go_are_told_whole() -> None:
    before = {"domains": ["a", "b"], "old": 1}
    assert list(differences(before, {"domains": ["a", "c", "b"], "new": {"x": 1}})) == [
        '+ domains[1]: "c"',
        "- old: 1",
        '+ new: {"x": 1}',
    ]


def test_items_of_different_names_are_different_things() -> None:
    before, after = [{"name": "a", "weight": 1}], [{"name": "b", "weight": 1}]
    assert list(differences(before, after)) == [
        '- [0]: {"name": "a", "weight": 1}',
        '+ [0]: {"name": "b", "weight": 1}',
    ]


def test_long_values_are_cut() -> None:
    (line,) = differences({"text": "x" * 1000}, {"text": "y"})
    assert len(line) < 200


@settings(deadline=None)
@given(VALUES, VALUES)
def test_only_equal_values_have_no_differences(before: object, after: object) -> None:
    assert list(differences(before, before)) == []
    assert bool(list(differences(before, after))) == (before != after)
