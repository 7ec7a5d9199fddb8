"""Operations on lists of named objects, such as the filters of a chain (istio.io, "Envoy Filter",
`Patch.Operation`)."""

from collections.abc import Callable
from typing import Any

Matches = Callable[[Any], bool]


def change_list(
    items: Any, operation: str, value: Any, matches: Matches | None, end: int | None = None
) -> bool:
    """Carry out an operation other than a merge. Returns whether it changed anything.

    `matches`: which items are meant; None: the patch names none, then what is inserted before goes to the
    front and what is inserted after to the end. `end`: where the end is, if not behind the last.
    """
    found = [index for index, item in enumerate(items) if matches is None or matches(item)]
    last = len(items) if end is None else end
    if operation == "ADD" or (operation == "INSERT_AFTER" and matches is None):
        items.insert(last, value)
    elif operation == "INSERT_FIRST" or (operation == "INSERT_BEFORE" and matches is None):
        items.insert(0, value)
    elif not found:
        return False
    elif operation == "INSERT_BEFORE":
        items.insert(found[0], value)
    elif operation == "INSERT_AFTER":
        items.insert(found[0] + 1, value)
    elif operation == "REPLACE":
        items[found[0]].CopyFrom(value)
    elif operation == "REMOVE":
        for index in reversed(found):
            del items[index]
    return True
