"""JSON patch (RFC 6902), JSON merge patch (RFC 7386), strategic merge patch."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marline.store.list_types import list_types
from marline.store.patch import BadPatch, Inapplicable, json_patch, merge_patch, strategic_merge_patch

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab/~", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # The cases of RFC 7386, appendix A.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target: Any, patch: Any, result: Any) -> None:
    before = copy.deepcopy(target)
    assert merge_patch(target, patch) == result
    assert target == before


@pytest.mark.parametrize(
    ("target", "operations", "result"),
    [
        ({"a": 1}, [{"op": "add", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
        ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
        ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}),
        ({"a": 1}, [{"op": "add", "path": "", "value": {"z": 1}}], {"z": 1}),
        ({"a": 1, "b": 2}, [{"op": "remove", "path": "/a"}], {"b": 2}),
        ({"a": 1}, [{"op": "replace", "path": "/a", "value": None}], {"a": None}),
        ({"a/b": {"~": 1}}, [{"op": "replace", "path": "/a~1b/~0", "value": 2}], {"a/b": {"~": 2}}),
        ({"a": {"b": 1}}, [{"op": "move", "from": "/a/b", "path": "/c"}], {"a": {}, "c": 1}),
        ({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1], "b": [1]}),
        ({"a": 1.0}, [{"op": "test", "path": "/a", "value": 1}], {"a": 1.0}),
    ],
)
def test_json_patch(target: Any, operations: Any, result: Any) -> None:
    before = copy.deepcopy(target)
    assert json_patch(target, operations) == result
    assert target == before


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/x"},
        {"op": "replace", "path": "/x", "value": 1},
        {"op": "add", "path": "/x/y", "value": 1},
        {"op": "add", "path": "/l/9", "value": 1},
        {"op": "add", "path": "/l/01", "value": 1},
        {"op": "test", "path": "/l/0", "value": True},
        {"op": "move", "from": "/d", "path": "/d/e"},
        {"op": "remove", "path": ""},
    ],
)
def test_json_patch_that_does_not_fit_is_refused(operation: Any) -> None:
    with pytest.raises(Inapplicable):
        json_patch({"l": [1], "d": {}}, [operation])


@pytest.mark.parametrize(
    "operations",
    [{}, "x", [1], [{"op": "add", "path": "/a"}], [{"op": "x", "path": "/a"}],
     [{"op": "remove", "path": "a"}], [{"op": "move", "path": "/a"}],
     [{"op": "remove", "path": "/a"}] * 10_001],
)  # fmt: skip
def test_malformed_json_patch_is_refused(operations: Any) -> None:
    with pytest.raises(BadPatch):
        json_patch({"a": 1}, operations)


@given(JSON, JSON)
def test_merge_patch_of_an_object_onto_itself_or_nothing(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


SERVICE = list_types("", "Service")


def ports(*numbers: int) -> dict[str, Any]:
    return {"spec": {"ports": [{"port": number, "name": f"p{number}"} for number in numbers]}}


def strategic(target: Any, patch: Any) -> Any:
    before = copy.deepcopy(target)
    result = strategic_merge_patch(target, patch, SERVICE)
    assert target == before
    return result


def test_strategic_patch_merges_ports_by_number() -> None:
    result = strategic(ports(80, 81), {"spec": {"ports": [{"port": 81, "name": "x"}, {"port": 82}]}})
    assert result["spec"]["ports"] == [{"port": 80, "name": "p80"}, {"port": 81, "name": "x"}, {"port": 82}]


def test_strategic_patch_deletes_and_orders_items() -> None:
    patch = {
        "spec": {
            "ports": [{"port": 80, "$patch": "delete"}],
            "$setElementOrder/ports": [{"port": 82}, {"port": 81}],
        }
    }
    assert [port["port"] for port in strategic(ports(80, 81, 82), patch)["spec"]["ports"]] == [82, 81]


def test_strategic_patch_replaces_lists_and_maps_when_told() -> None:
    patch = {"spec": {"ports": [{"$patch": "replace"}, {"port": 1}]}}
    assert strategic(ports(80), patch)["spec"]["ports"] == [{"port": 1}]
    assert strategic({"spec": {"a": 1}}, {"spec": {"$patch": "replace", "b": 2}}) == {"spec": {"b": 2}}
    assert strategic({"spec": {"a": 1, "b": 2}}, {"spec": {"$retainKeys": ["b"]}}) == {"spec": {"b": 2}}


def test_strategic_patch_of_sets() -> None:
    target = {"metadata": {"finalizers": ["a", "b"]}}
    added = strategic(target, {"metadata": {"finalizers": ["b", "c"]}})
    assert added["metadata"]["finalizers"] == ["a", "b", "c"]
    removed = strategic(target, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}})
    assert removed["metadata"]["finalizers"] == ["b"]


@pytest.mark.parametrize(
    "patch", [{"$patch": "x"}, {"spec": {"ports": [{"name": "x"}]}}, {"spec": {"$nonsense": 1}}]
)
def test_malformed_strategic_patch_is_refused(patch: Any) -> None:
    with pytest.raises(BadPatch):
        strategic(ports(80), patch)
