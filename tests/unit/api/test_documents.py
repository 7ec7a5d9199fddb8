"""Files of many resources: what is read, and where a fault in them is said to be."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marline.api.decode import admit
from marline.api.documents import MAX_TEXT, read_documents
from marline.api.errors import InvalidResource
from marline.api.yaml_values import write_yaml


def faults(text: str, **limits: int) -> list[tuple[int, int, str, str]]:
    with pytest.raises(InvalidResource) as caught:
        read_documents(text, "mesh.yaml", **limits)
    return [(error.document, error.line, error.path, error.message) for error in caught.value.errors]


def one(text: str) -> dict[str, Any]:
    (document,) = read_documents(text)
    return document.obj


def test_documents_are_numbered_and_empty_ones_skipped() -> None:
    found = read_documents("# first\n---\na: 1\n---\n---\n# nothing\n---\nb: 2\n", "mesh.yaml")
    assert [(item.number, item.obj, item.file) for item in found] == [
        (1, {"a": 1}, "mesh.yaml"),
        (4, {"b": 2}, "mesh.yaml"),
    ]


def test_a_list_is_read_as_its_items_with_their_lines() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n- kind: A\n- kind: B\n  spec:\n    x: [1, 2]\n"
    first, second = read_documents(text)
    assert (first.obj, second.obj["kind"]) == ({"kind": "A"}, "B")
    assert (second.lines[""], second.lines["spec"], second.lines["spec.x[1]"]) == (5, 6, 7)


def test_an_item_of_a_list_that_is_no_resource_is_refused() -> None:
    ((number, line, path, _),) = faults("apiVersion: v1\nkind: List\nitems:\n- {kind: A}\n- 4\n")
    assert (number, line, path) == (1, 5, "items[1]")


def test_faults_of_a_resource_are_located_by_field() -> None:
    text = """\
a: ignored
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: reviews
  labels: {app.kubernetes.io/name: "not a label"}
spec:
  hosts: [reviews]
  http:
  - route:
    - destination:
        hosst: reviews
"""
    document = read_documents(text, "mesh.yaml")[1]
    with pytest.raises(InvalidResource) as caught:
        admit(document.obj)
    located = document.locate(caught.value)
    place = "spec.http[0].route[0].destination"
    assert str(located).splitlines()[1:] == [
        f"  mesh.yaml:13 (document 2): {place}.hosst: unknown field (did you mean 'host'?)",
        f"  mesh.yaml:12 (document 2): {place}.host: is required",
    ]
    assert {error.document for error in located.errors} == {2}
    document.obj["spec"]["http"][0]["route"][0]["destination"] = {"host": "reviews"}
    with pytest.raises(InvalidResource) as caught:
        admit(document.obj)
    (error,) = document.locate(caught.value).errors
    assert (error.path, error.line) == ("metadata.labels[app.kubernetes.io/name]", 7)


def test_a_key_that_stands_twice_is_refused() -> None:
    found = faults("a: 1\nb: {c: 1,\n  c: 2}\na: 3\n---\nd: 1\nd: 2\n")
    assert [item[:3] for item in found] == [(1, 2, "b.c"), (1, 1, "a"), (2, 6, "d")]
    assert "again in line 3" in found[0][3]


@pytest.mark.parametrize(
    ("text", "number", "line"),
    [
        ("a: 1\n---\nb: [\nc: d\n---\n", 2, 5),
        ("a: 'x\n\n", 1, 3),
        ("a: 1\n b: 2\n", 1, 2),
        ("a: 1\nb: \x07\n", 1, 2),
        ("a: 1\nb: *nowhere\n", 1, 2),
        ("a: 1\nb: \ud800\n", 1, 2),
        ("[" * 5000, 1, 1),
    ],
)
def test_what_is_not_yaml_is_refused_with_its_line(text: str, number: int, line: int) -> None:
    ((found, where, path, message),) = faults(text)
    assert (found, path) == (number, "(root)")
    assert message
    assert where == line


@pytest.mark.parametrize("text", ["- a\n", "text\n", "42\n"])
def test_a_document_that_is_no_mapping_is_refused(text: str) -> None:
    ((_, line, _, message),) = faults(text)
    assert line == 1
    assert "expected a mapping" in message


def test_scalars_are_read_as_kubernetes_reads_them() -> None:
    text = "{a: on, b: No, c: 1:30, d: 2026-01-01, e: 0644, f: 1e3, g: 0x1F, h: ~, i: 1_000, j: 0o14}"
    assert one(text) == {
        "a": True, "b": False, "c": "1:30", "d": "2026-01-01", "e": 420, "f": 1000.0, "g": 31, "h": None,
        "i": 1000, "j": 12,
    }  # fmt: skip
    assert one("a: 99999999999999999999999\nb: '1'\nc: =\n") == {"a": 1e23, "b": "1", "c": "="}


def test_keys_are_what_was_written() -> None:
    assert one("{on: 1, yes: 2, 80: 3, 1.50: 4, ~: 5}") == {"on": 1, "yes": 2, "80": 3, "1.50": 4, "~": 5}


@pytest.mark.parametrize("value", [".inf", ".nan", "!!binary YQ==", "!thing a", "!!int x", "1" * 5000])
def test_what_json_cannot_hold_is_refused(value: str) -> None:
    ((_, line, path, _),) = faults(f"a: 1\nb: {value}\n")
    assert (line, path) == (2, "b")


def test_aliases_and_merges_are_expanded() -> None:
    text = "base: &base {a: 1, b: 2}\ncopy: *base\nmore: {<<: *base, b: 3}\n"
    obj = one(text + "list: {<<: [*base, {c: 4, a: 5}]}\n")
    assert (obj["copy"], obj["more"], obj["list"]) == (
        {"a": 1, "b": 2},
        {"a": 1, "b": 3},
        {"a": 1, "b": 2, "c": 4},
    )
    obj["copy"]["a"] = 7
    assert obj["base"]["a"] == 1


def test_an_alias_cannot_make_a_small_text_huge() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    assert "an alias" in faults("\n".join(rows))[0][3]
    assert "nested" in faults("a: &a [*a]\n")[0][3]
    assert "an alias" in faults("a: &a [x]\nb: *a\n", max_repeated=0)[0][3]
    assert "longer" in faults("#" * (MAX_TEXT + 1))[0][3]


def test_json_may_be_indented_with_tabs() -> None:
    (document,) = read_documents('{\n\t"kind": "A",\n\t"spec": {\n\t\t"text": "a\\tb"\n\t}\n}\n')
    assert document.obj == {"kind": "A", "spec": {"text": "a\tb"}}
    assert document.lines["spec.text"] == 4


texts = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=12)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | texts
floats = st.floats(allow_nan=False, allow_infinity=False)
plain_json = st.recursive(
    scalars | floats,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(texts, plain_json, min_size=1))
def test_what_is_written_as_yaml_is_read_back(value: dict[str, Any]) -> None:
    if value.get("kind") == "List":
        return
    assert one(write_yaml(value)) == value
    assert one(json.dumps(value, ensure_ascii=False)) == value


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    try:
        read_documents(text, "f")
    except InvalidResource as error:
        assert all(fault.line and fault.document for fault in error.errors)
