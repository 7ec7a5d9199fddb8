"""Envoy resources as they may be shown: without keys, passwords and the like.

Envoy's own types say which of their fields are sensitive (`udpa.annotations.sensitive`); so does Envoy leave
them out of its `/config_dump`.
"""

from collections.abc import Iterator
from typing import Any, Final

from google.protobuf import any_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message
from udpa.annotations import sensitive_pb2

NOT_SHOWN: Final = "(not shown)"
_POOL: Final = descriptor_pool.Default()


def shown(message: Message) -> Message:
    """A copy in which every sensitive value is left out; of a text one can tell that it was there."""
    copy = type(message)()
    copy.CopyFrom(message)
    _hide(copy)
    return copy


def _hide(message: Any) -> None:
    if isinstance(message, any_pb2.Any):
        _hide_packed(message)
        return
    for field, value in message.ListFields():
        if field.GetOptions().Extensions[sensitive_pb2.sensitive]:
            _cover(message, field)
        else:
            for inner in _messages(field, value):
                _hide(inner)


def _cover(message: Any, field: Any) -> None:
    message.ClearField(field.name)
    if field.message_type is not None and "inline_string" in field.message_type.fields_by_name:
        made = getattr(message, field.name)
        (made.add() if field.is_repeated else made).inline_string = NOT_SHOWN


def _messages(field: Any, value: Any) -> Iterator[Any]:
    if field.message_type is None:
        return
    if field.message_type.GetOptions().map_entry:
        if field.message_type.fields_by_name["value"].message_type is not None:
            yield from value.values()
    elif field.is_repeated:
        yield from value
    else:
        yield value


def _hide_packed(packed: any_pb2.Any) -> None:
    """What is of a type that nobody here knows is left out as a whole."""
    try:
        kind = _POOL.FindMessageTypeByName(packed.TypeName())
        message: Any = message_factory.GetMessageClass(kind)()
        message.ParseFromString(packed.value)
    except (KeyError, DecodeError):
        packed.value = b""
        return
    _hide(message)
    packed.value = message.SerializeToString(deterministic=True)
