"""Sets of fields and who owns them, apart from any store."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marline.store import field_set
from marline.store.list_types import list_types
from marline.store.managed_fields import FieldConflict, Manager, applied, merge, read, updated, write

SERVICE = list_types("", "Service")
X = Manager("x", "Apply", "v1")
Y = Manager("y", "Apply", "v1")
NOW = "2030-01-01T00:00:00Z"

STEPS = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"'])
FIELD_SETS = st.frozensets(st.lists(STEPS, min_size=1, max_size=4).map(tuple), min_size=1, max_size=10)
LEAF = st.integers(0, 2) | st.just([1]) | st.just([2, 1])
OBJECTS = st.recursive(
    st.dictionaries(st.sampled_from("abc"), LEAF, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner | LEAF, max_size=3),
    max_leaves=6,
)


@given(FIELD_SETS)
def test_encoding_is_reversible(fields: field_set.FieldSet) -> None:
    assert field_set.decode(field_set.encode(fields)) == fields


def test_encoding_is_that_of_kubernetes() -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s", "labels": {"app": "x"}, "finalizers": ["f"]},
        "spec": {"ports": [{"port": 80, "name": "http"}], "selector": {"a": "b"}, "externalIPs": ["1"]},
    }
    assert field_set.encode(field_set.fields_of(config, SERVICE)) == {
        "f:metadata": {"f:labels": {"f:app": {}}, "f:finalizers": {'v:"f"': {}}},
        "f:spec": {
            "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}, "f:name": {}}},
            "f:selector": {},
            "f:externalIPs": {},
        },
    }


def test_fields_read_like_those_of_kubernetes() -> None:
    field = ("f:spec", "f:ports", 'k:{"port":80,"protocol":"TCP"}', "f:name")
    assert field_set.readable(field) == '.spec.ports[port=80,protocol="TCP"].name'


@pytest.mark.parametrize("entry", [{"operation": "X"}, {"operation": "Apply", "fieldsV1": {"f:a": 1}}])
def test_malformed_entries_are_refused(entry: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read({"managedFields": [entry]})


@given(OBJECTS, OBJECTS)
def test_applying_makes_the_object_say_what_the_config_says(live: Any, config: Any) -> None:
    merged, managers = applied({}, live, config, X, {}, NOW, force=True)
    assert merge(merged, config, {}) == merged
    assert managers[X].fields == field_set.fields_of(config, {})


@given(OBJECTS, OBJECTS, OBJECTS)
def test_nobody_loses_a_field_that_he_still_applies(first: Any, second: Any, other: Any) -> None:
    """X applies twice, Y once in between: what Y owns is as Y wants it."""
    live, managers = applied({}, {}, first, X, {}, NOW, force=True)
    live, managers = applied(managers, live, other, Y, {}, NOW, force=True)
    try:
        live, managers = applied(managers, live, second, X, {}, NOW, force=False)
    except FieldConflict as conflict:
        assert all(manager == Y for manager, _ in conflict.conflicts)
        return
    assert merge(live, other, {}) == live


@given(OBJECTS, OBJECTS)
def test_apply_of_nothing_takes_back_what_was_applied(live: Any, config: Any) -> None:
    """Only what was there before is left, at most."""
    merged, managers = applied({}, live, config, X, {}, NOW, force=True)
    left, managers = applied(managers, merged, {}, X, {}, NOW, force=True)
    assert not field_set.fields_of(config, {}) & field_set.fields_of(left, {})
    assert not write(managers)


@given(OBJECTS, OBJECTS)
def test_update_owns_exactly_what_it_changed(old: Any, new: Any) -> None:
    start = updated({}, {}, old, X, {}, NOW)
    end = updated(start, old, new, Y, {}, NOW)
    changed, removed = field_set.compare(old, new, {})
    assert (end[Y].fields if Y in end else frozenset()) == changed
    assert not (end[X].fields if X in end else frozenset()) & (changed | removed)
    assert read({"managedFields": write(end)}) == end
