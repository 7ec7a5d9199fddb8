"""One message merged into another, as Istio merges patches.

Protobuf's merge: fields that are set replace, messages are merged, lists appended, entries of maps replaced
(protobuf.dev, `MergeFrom`). Values that JSON writes as one, such as durations, are replaced as a whole; and
what an `Any` holds is merged with what is given, if both are of one type.
"""

from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from marline.api.envoy_messages import message_class

MERGES: Final = ("MERGE", "MERGE_AND_REPLACE_LIST")
"""The operations that merge. The second replaces lists, but not those within an `Any` (istio.io, "Envoy
Filter", `Patch.Operation`)."""
_ANY: Final = "google.protobuf.Any"
_STRUCTURED: Final = ("google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue")


def merge(into: Any, patch: Any, operation: str = "MERGE") -> None:
    """Merge `patch` into `into`, as one of `MERGES`."""
    for field, value in patch.ListFields():
        if _is_map(field):
            _merge_map(getattr(into, field.name), value)
        elif field.is_repeated:
            if operation == "MERGE_AND_REPLACE_LIST":
                into.ClearField(field.name)
            getattr(into, field.name).extend(value)
        elif field.message_type is None:
            setattr(into, field.name, value)
        else:
            _merge_message(getattr(into, field.name), value, operation)


def same_type(one: Any, other: Any) -> bool:
    """Do two `Any` hold messages of one type, or one of them none?"""
    names = {item.TypeName() for item in (one, other) if item.type_url}
    return len(names) < 2


def merge_any(into: Any, patch: Any) -> None:
    """Merge what an `Any` holds into what the other does; one of another type takes its place."""
    kind = message_class(patch.TypeName())
    if kind is None or not into.type_url or not same_type(into, patch):
        into.CopyFrom(patch)
        return
    held, given = kind.FromString(into.value), kind.FromString(patch.value)
    merge(held, given)
    into.Pack(held, deterministic=True)


def _merge_message(into: Any, value: Any, operation: str) -> None:
    name = value.DESCRIPTOR.full_name
    if name == _ANY:
        merge_any(into, value)
    elif name.startswith("google.protobuf.") and name not in _STRUCTURED:
        into.CopyFrom(value)
    else:
        into.SetInParent()
        merge(into, value, operation)


def _merge_map(into: Any, values: Any) -> None:
    for key, value in values.items():
        if isinstance(value, Message):
            into[key].CopyFrom(value)
        else:
            into[key] = value


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)
