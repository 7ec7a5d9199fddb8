"""How two JSON-like values differ, as short lines: a path, and what stands there before and after."""

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

_LONGEST: Final = 160
_ALIKE: Final = 0.5
"""Items of lists that have so much in common are one item that was changed; others are a removal and an
addition."""


def differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """`path: old → new`, `+ path: new` and `- path: old`; nothing if they are equal."""
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from _of_mappings(before, after, path)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _of_lists(before, after, path)
    else:
        yield f"{path}: {_short(before)} → {_short(after)}"


def _of_mappings(before: Mapping[str, Any], after: Mapping[str, Any], path: str) -> Iterator[str]:
    for name in [*before, *(name for name in after if name not in before)]:
        inner = f"{path}.{name}" if path else name
        if name not in after:
            yield f"- {inner}: {_short(before[name])}"
        elif name not in before:
            yield f"+ {inner}: {_short(after[name])}"
        else:
            yield from differences(before[name], after[name], inner)


def _of_lists(before: list[Any], after: list[Any], path: str) -> Iterator[str]:
    old, new = [_canonical(item) for item in before], [_canonical(item) for item in after]
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for tag, first, last, start, end in matcher.get_opcodes():
        if tag == "equal":
            continue
        pairs = min(last - first, end - start)
        for step in range(pairs):
            one, other = first + step, start + step
            if _similar(before[one], after[other]):
                yield from differences(before[one], after[other], f"{path}[{other}]")
            else:
                yield f"- {path}[{one}]: {_short(before[one])}"
                yield f"+ {path}[{other}]: {_short(after[other])}"
        for one in range(first + pairs, last):
            yield f"- {path}[{one}]: {_short(before[one])}"
        for other in range(start + pairs, end):
            yield f"+ {path}[{other}]: {_short(after[other])}"


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _similar(one: Any, other: Any) -> bool:
    """Is it likely the same thing, changed? Things of one name are; others by what they have in common."""
    if isinstance(one, Mapping) and isinstance(other, Mapping) and "name" in one and "name" in other:
        return bool(one["name"] == other["name"])
    mine, yours = set(_leaves(one)), set(_leaves(other))
    return len(mine & yours) >= _ALIKE * max(len(mine), len(yours))


def _leaves(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, f"{path}[]")
    else:
        yield f"{path}={value}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
