"""The three ways of changing a JSON object that come before server-side apply.

All functions leave their arguments alone and return the changed object.
"""

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from marline.store.list_types import ListMap, ListSet, Path, Types

_LIMIT: Final = 10_000
"""Operations in one JSON patch, as kube-apiserver limits them."""
_COPIED: Final = 3 * 1024 * 1024
"""Bytes that the copy operations of one JSON patch may add, for each can double the object."""


class BadPatch(ValueError):
    """A patch that is not well-formed; the message is one sentence."""


class Inapplicable(ValueError):
    """A well-formed JSON patch that does not fit the object: a path is absent, a test fails."""


def merge_patch(target: Any, patch: Any) -> Any:
    """JSON merge patch (RFC 7386, section 2)."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def json_patch(target: Any, operations: Any) -> Any:
    """JSON patch (RFC 6902). Raises `BadPatch` or `Inapplicable`."""
    if not isinstance(operations, Sequence) or isinstance(operations, str):
        raise BadPatch("a JSON patch is a list of operations")
    if len(operations) > _LIMIT:
        raise BadPatch(f"a JSON patch has at most {_LIMIT} operations")
    document, copied = copy.deepcopy(target), 0
    for operation in operations:
        if isinstance(operation, Mapping) and operation.get("op") == "copy":
            copied += len(msgspec.json.encode(_at(document, _source(operation))))
            if copied > _COPIED:
                raise Inapplicable(f"its copy operations add more than {_COPIED} bytes")
        document = _operate(document, operation)
    return document


def _operate(document: Any, operation: Any) -> Any:
    if not isinstance(operation, Mapping) or not isinstance(operation.get("path"), str):
        raise BadPatch("an operation of a JSON patch is an object with op and path")
    name, path = operation.get("op"), _pointer(operation["path"])
    if name in ("add", "replace", "test") and "value" not in operation:
        raise BadPatch(f"operation {name} needs a value")
    match name:
        case "add":
            return _add(document, path, copy.deepcopy(operation["value"]))
        case "remove":
            return _remove(document, path)
        case "replace":
            _at(document, path)
            return _put(document, path, copy.deepcopy(operation["value"]))
        case "test":
            if not _same(_at(document, path), operation["value"]):
                raise Inapplicable(f"testing value {operation['path']} failed")
            return document
        case "copy" | "move":
            return _transfer(document, operation, path)
    raise BadPatch(f"{name!r} is not an operation of JSON patch")


def _transfer(document: Any, operation: Mapping[str, Any], path: list[str]) -> Any:
    source = _source(operation)
    value = _at(document, source)
    if operation["op"] == "copy":
        return _add(document, path, copy.deepcopy(value))
    if path[: len(source)] == source and path != source:
        raise Inapplicable("a value cannot be moved into itself")
    return _add(_remove(document, source), path, value)


def _source(operation: Mapping[str, Any]) -> list[str]:
    if not isinstance(operation.get("from"), str):
        raise BadPatch(f"operation {operation['op']} needs from")
    return _pointer(operation["from"])


def _pointer(text: str) -> list[str]:
    """RFC 6901."""
    if text and not text.startswith("/"):
        raise BadPatch(f"{text!r} is not a JSON pointer")
    return [step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:]]


def _at(document: Any, path: list[str]) -> Any:
    for step in path:
        if isinstance(document, dict) and step in document:
            document = document[step]
        elif isinstance(document, list):
            document = document[_position(document, step, len(document) - 1)]
        else:
            raise Inapplicable(f"path /{'/'.join(path)} does not exist")
    return document


def _position(items: list[Any], step: str, last: int) -> int:
    if not re.fullmatch(r"0|[1-9][0-9]{0,8}", step):
        raise Inapplicable(f"{step!r} is not an index of a list")
    if int(step) > last:
        raise Inapplicable(f"index {step} is beyond a list of {len(items)}")
    return int(step)


def _add(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, step = _at(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        parent.insert(len(parent) if step == "-" else _position(parent, step, len(parent)), value)
    elif isinstance(parent, dict):
        parent[step] = value
    else:
        raise Inapplicable(f"path /{'/'.join(path)} does not exist")
    return document


def _put(document: Any, path: list[str], value: Any) -> Any:
    """Replace what is known to exist."""
    if not path:
        return value
    parent, step = _at(document, path[:-1]), path[-1]
    parent[int(step) if isinstance(parent, list) else step] = value
    return document


def _remove(document: Any, path: list[str]) -> Any:
    _at(document, path)
    if not path:
        raise Inapplicable("the whole object cannot be removed")
    parent, step = _at(document, path[:-1]), path[-1]
    del parent[int(step) if isinstance(parent, list) else step]
    return document


def _same(left: Any, right: Any) -> bool:
    """Equality of JSON: 1 is 1.0, but not true (RFC 6902, section 4.6)."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)


def strategic_merge_patch(target: Any, patch: Any, types: Types, path: Path = ()) -> Any:
    """Kubernetes' strategic merge patch (sig-api-machinery, "strategic-merge-patch.md").

    Lists of maps that have a patch key are merged by it; of the directives, `$patch`, `$retainKeys`,
    `$setElementOrder/…` and `$deleteFromPrimitiveList/…` are understood. Raises `BadPatch`.
    """
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    directive = patch.get("$patch", "merge")
    if directive == "replace":
        return copy.deepcopy({key: value for key, value in patch.items() if key != "$patch"})
    if directive == "delete":
        return {}
    if directive != "merge":
        raise BadPatch(f"{directive!r} is not a $patch directive: replace, merge or delete")
    result = dict(target) if isinstance(target, Mapping) else {}
    if "$retainKeys" in patch:
        retained = _directive_list("$retainKeys", patch["$retainKeys"])
        result = {key: value for key, value in result.items() if key in retained}
    for key, value in patch.items():
        if not key.startswith("$"):
            _merge_field(result, key, value, types, (*path, key))
    for key, value in patch.items():
        _direct(result, key, value, types, path)
    return result


def _merge_field(result: dict[str, Any], key: str, value: Any, types: Types, path: Path) -> None:
    kind = types.get(path)
    if value is None:
        result.pop(key, None)
    elif isinstance(value, list) and isinstance(kind, ListMap) and kind.patch_key:
        result[key] = _merge_items(result.get(key) or [], value, kind.patch_key, types, path)
    elif isinstance(value, list) and isinstance(kind, ListSet):
        have = result.get(key) or []
        result[key] = [*have, *(item for item in value if item not in have)]
    else:
        result[key] = strategic_merge_patch(result.get(key), value, types, path)


def _merge_items(have: list[Any], patch: list[Any], merge_key: str, types: Types, path: Path) -> list[Any]:
    if {"$patch": "replace"} in patch:
        return [copy.deepcopy(item) for item in patch if item != {"$patch": "replace"}]
    result = list(have)
    for item in patch:
        if not isinstance(item, Mapping) or merge_key not in item:
            raise BadPatch(f"an item of {'.'.join(path)} has no {merge_key}, by which the list is merged")
        places = [index for index, old in enumerate(result) if _key(old, merge_key) == item[merge_key]]
        if item.get("$patch") == "delete":
            result = [old for old in result if _key(old, merge_key) != item[merge_key]]
        elif places:
            result[places[0]] = strategic_merge_patch(result[places[0]], item, types, path)
        else:
            result.append(strategic_merge_patch({}, item, types, path))
    return result


def _direct(result: dict[str, Any], key: str, value: Any, types: Types, path: Path) -> None:
    """Perform a directive that stands beside the field that it is about."""
    directive, _, name = key.partition("/")
    if directive == "$deleteFromPrimitiveList" and isinstance(result.get(name), list):
        gone = _directive_list(directive, value)
        result[name] = [item for item in result[name] if item not in gone]
    elif directive == "$setElementOrder" and isinstance(result.get(name), list):
        kind = types.get((*path, name))
        merge_key = kind.patch_key if isinstance(kind, ListMap) else ""
        order = [_key(item, merge_key) for item in _directive_list(directive, value)]
        result[name] = _in_order(result[name], order, merge_key)
    elif key.startswith("$") and directive not in ("$patch", "$retainKeys", *_BESIDE):
        raise BadPatch(f"{key!r} is not a directive of a strategic merge patch")


def _key(item: Any, merge_key: str) -> Any:
    """What an item of a merged list is known by: a field of a map, else itself."""
    return item.get(merge_key) if isinstance(item, Mapping) else item


def _directive_list(directive: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadPatch(f"{directive} is followed by a list")
    return value


_BESIDE: Final = ("$setElementOrder", "$deleteFromPrimitiveList")


def _in_order(items: list[Any], order: list[Any], merge_key: str) -> list[Any]:
    """Items named by the patch in its order; the others keep their place relative to their predecessor."""
    ranks: list[tuple[int, int]] = []
    last = -1
    for index, item in enumerate(items):
        value = _key(item, merge_key)
        last = order.index(value) if value in order else last
        ranks.append((last, index))
    return [items[index] for _, index in sorted(ranks)]
