"""How large and how deep one object may become, whatever way it grew there.

A body has limits of its own, but patches add up over time: an object that is deeper than a decoder goes
would be stored and never read again.
"""

from collections.abc import Mapping
from typing import Any, Final

from marline.api.errors import FieldError, InvalidResource
from marline.api.resource import Ref
from marline.store.interface import Refused

DEPTH: Final = 100
"""Levels of nesting; a VirtualService has about twelve, the record of its fields' owners a few more."""
SIZE: Final = 3 * 1024 * 1024
"""Bytes of JSON, about; as many as in the body of a request."""


def check(ref: Ref, obj: Mapping[str, Any]) -> None:
    """Raises `InvalidResource` or `Refused`. Walks without recursion, so that no depth can harm it."""
    size, level, depth = 0, [obj], 0
    while level:
        depth += 1
        if depth > DEPTH:
            fault = FieldError("(root)", f"the object is nested more than {DEPTH} levels deep")
            raise InvalidResource(str(ref), (fault,))
        below: list[Any] = []
        for value in level:
            size += _size(value)
            if isinstance(value, Mapping):
                below += value.values()
            elif isinstance(value, list | tuple):
                below += value
        level = below
    if size > SIZE:
        message = f"{ref} would have {size} bytes; an object has at most {SIZE}"
        raise Refused(message, "RequestEntityTooLarge", 413)


def _size(value: Any) -> int:
    """What a value adds to the JSON text beside the values in it."""
    if isinstance(value, str):
        return len(value) + 2
    if isinstance(value, Mapping):
        return 2 + sum(len(key) + 4 for key in value)
    return 4
