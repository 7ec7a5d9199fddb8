"""Sets of fields, as `metadata.managedFields` keeps them (kubernetes.io, "Server-Side Apply", FieldsV1).

A field is a path of steps as FieldsV1 writes them: `f:spec`, `k:{"name":"http"}` for an item of a list
that is a map, `v:"x"` for an item of a set. A set is a frozenset of paths; a path of a map or an item is
a member of its own ("." in FieldsV1) when the map or item itself is owned.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from marline.store.list_types import AtomicMap, ListMap, ListSet, Path, Type, Types

Field = tuple[str, ...]
FieldSet = frozenset[Field]

NOTHING: Final[FieldSet] = frozenset()

UNOWNED: Final[FieldSet] = frozenset(
    {(), ("f:apiVersion",), ("f:kind",), ("f:metadata",)}
    | {
        ("f:metadata", f"f:{name}")
        for name in (
            "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "selfLink",
            "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "generateName",
        )
    }
)  # fmt: skip
"""What the server keeps by itself and nobody owns."""


def encode(fields: FieldSet) -> dict[str, Any]:
    """As FieldsV1."""
    tree: dict[str, Any] = {}
    for path in sorted(fields):
        node = tree
        for step in path:
            node = node.setdefault(step, {})
        node["."] = {}
    _drop_dots(tree)
    return tree


def _drop_dots(node: dict[str, Any]) -> None:
    """A member without children is written `{}`, without the dot."""
    for step, child in node.items():
        if step != ".":
            if child.keys() == {"."}:
                child.clear()
            else:
                _drop_dots(child)


def decode(tree: Any) -> FieldSet:
    """From FieldsV1; raises ValueError."""
    fields: set[Field] = set()
    _collect(tree, (), fields)
    return frozenset(fields)


def _collect(node: Any, path: Field, fields: set[Field]) -> None:
    if not isinstance(node, Mapping):
        raise ValueError(f"fieldsV1 holds {node!r} where an object is expected")
    if not node and path:
        fields.add(path)
    for step, child in node.items():
        if step == ".":
            fields.add(path)
        else:
            _collect(child, (*path, step), fields)


def readable(field: Field) -> str:
    """As error messages of kube-apiserver write a field: `.spec.ports[port=80,protocol="TCP"].name`."""
    text = ""
    for step in field:
        prefix, _, rest = step.partition(":")
        if prefix == "f":
            text += f".{rest}"
        elif prefix == "k":
            keys = msgspec.json.decode(rest)
            text += "[" + ",".join(f"{key}={_json(value)}" for key, value in sorted(keys.items())) + "]"
        elif prefix == "v":
            text += f"[={rest}]"
        else:
            text += f"[{rest}]"
    return text


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def items_of(value: list[Any], kind: Type | None) -> dict[str, Any] | None:
    """The items of a list by step, or None if the list is atomic (or not as its type wants it)."""
    if isinstance(kind, ListSet):
        return {f"v:{_json(item)}": item for item in value}
    if not isinstance(kind, ListMap):
        return None
    items: dict[str, Any] = {}
    for item in value:
        key = kind.key_of(item)
        if key is None:
            return None
        items[f"k:{_json(dict(sorted(key)))}"] = item
    return None if len(items) != len(value) else items


def children(value: Any, types: Types, path: Path) -> tuple[dict[str, tuple[Any, Path]], bool] | None:
    """The parts of a value by step, each with its path among the types, and whether they are list items;
    None for a scalar or an atomic value."""
    if isinstance(value, Mapping):
        if isinstance(types.get(path), AtomicMap):
            return None
        return {f"f:{key}": (child, (*path, key)) for key, child in value.items()}, False
    if isinstance(value, list):
        items = items_of(value, types.get(path))
        return None if items is None else ({step: (item, path) for step, item in items.items()}, True)
    return None


def fields_of(obj: Mapping[str, Any], types: Types) -> FieldSet:
    """The fields that an applied configuration says something about."""
    fields: set[Field] = set()
    _leaves(obj, types, (), (), fields)
    return frozenset(fields) - UNOWNED


def _leaves(value: Any, types: Types, path: Path, at: Field, fields: set[Field]) -> None:
    parts = children(value, types, path)
    if parts is None or not parts[0]:
        fields.add(at)
        return
    for step, (child, below) in parts[0].items():
        if parts[1]:
            fields.add((*at, step))
            if not isinstance(child, Mapping):
                continue
        _leaves(child, types, below, (*at, step), fields)


def compare(old: Any, new: Any, types: Types) -> tuple[FieldSet, FieldSet]:
    """The fields that were added or changed, and those that were removed, from one object to another."""
    changed: set[Field] = set()
    removed: set[Field] = set()
    _compare(old, new, types, (), (), changed, removed)
    return frozenset(changed) - UNOWNED, frozenset(removed) - UNOWNED


def _compare(
    old: Any, new: Any, types: Types, path: Path, at: Field, changed: set[Field], removed: set[Field]
) -> None:
    before, after = children(old, types, path), children(new, types, path)
    if before is None or after is None:
        if old != new or type(old) is not type(new):
            if before is not None:
                everything(old, types, path, at, removed)
            everything(new, types, path, at, changed)
        return
    for step, (child, below) in after[0].items():
        if step in before[0]:
            if isinstance(child, Mapping) or not after[1]:
                _compare(before[0][step][0], child, types, below, (*at, step), changed, removed)
        else:
            everything(child, types, below, (*at, step), changed, item=after[1])
    for step, (child, below) in before[0].items():
        if step not in after[0]:
            everything(child, types, below, (*at, step), removed, item=before[1])


def everything(
    value: Any, types: Types, path: Path, at: Field, fields: set[Field], *, item: bool = False
) -> None:
    """A value's own path and those of all its parts."""
    if at:
        fields.add(at)
    parts = None if item and not isinstance(value, Mapping) else children(value, types, path)
    for step, (child, below) in (parts[0] if parts else {}).items():
        everything(child, types, below, (*at, step), fields, item=parts[1] if parts else False)
