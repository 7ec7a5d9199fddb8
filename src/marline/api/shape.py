"""Does an object have the shape of a model? All faults at once, each with its path.

msgspec's own decoding is fast and stops at the first fault; it is used for what is well-formed.
What is not is walked again here, to name every fault and to suggest what was meant.
"""

import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec

from marline.api.errors import Fault
from marline.api.faults import Faults, nearest
from marline.api.scalars import Duration

ModelT = TypeVar("ModelT", bound=msgspec.Struct)

_ACCEPTS: Mapping[Any, tuple[type, ...]] = {int: (int,), float: (int, float), str: (str,), bool: (bool,)}
_NAMES = {str: "a string", int: "an integer", float: "a number", bool: "true or false", dict: "an object"}


def convert(obj: Any, model: type[ModelT], faults: Faults) -> ModelT | None:
    """The object as a `model`, or None with every fault added to `faults`."""
    try:
        return _converted(obj, model)
    except msgspec.ValidationError:
        obj = without_nulls(obj, model)
    try:
        return _converted(obj, model)
    except msgspec.ValidationError as error:
        before = len(faults.errors)
        _check(obj, model, faults)
        if len(faults.errors) == before:
            faults.add(str(error))
        return None


def _converted(obj: Any, model: type[ModelT]) -> ModelT:
    # In JSON all keys are strings, also those of PeerAuthentication's `portLevelMtls`.
    return msgspec.convert(obj, model, str_keys=True, dec_hook=_decode_scalar)


def without_nulls(value: Any, expected: Any) -> Any:
    """A field that is null is one that is absent (kubernetes.io, "Custom resources", "Defaulting and
    Nullable")."""
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin is typing.Annotated:
        return without_nulls(value, arguments[0])
    if origin in (typing.Union, types.UnionType):
        rest = [option for option in arguments if option is not type(None)]
        return without_nulls(value, rest[0]) if len(rest) == 1 else value
    if origin is tuple and isinstance(value, list | tuple):
        return [without_nulls(item, arguments[0]) for item in value]
    if origin is dict and isinstance(value, Mapping):
        return {key: without_nulls(item, arguments[1]) for key, item in value.items()}
    if isinstance(expected, type) and issubclass(expected, msgspec.Struct) and isinstance(value, Mapping):
        known = field_types(expected)
        return {
            name: without_nulls(item, known[name][0]) if name in known else item
            for name, item in value.items()
            if item is not None or name not in known
        }
    return value


def _decode_scalar(target: type, value: Any) -> Any:
    if target is Duration:
        return Duration.decode(value)
    raise NotImplementedError(f"no decoding for {target!r}")


def encode_scalar(value: Any) -> Any:
    """The JSON form of a value that msgspec does not know (its `enc_hook`)."""
    if isinstance(value, Duration):
        return str(value)
    raise NotImplementedError(f"no encoding for {type(value)!r}")


@cache
def field_types(model: type[msgspec.Struct]) -> dict[str, tuple[Any, bool]]:
    """JSON name → (type, required) of each field of a model."""
    hints = typing.get_type_hints(model, include_extras=True)
    return {item.encode_name: (hints[item.name], item.required) for item in msgspec.structs.fields(model)}


def _check(value: Any, expected: Any, faults: Faults) -> None:
    origin = typing.get_origin(expected)
    if origin is typing.Annotated:
        _check_annotated(value, expected, faults)
    elif origin in (typing.Union, types.UnionType):
        _check_union(value, typing.get_args(expected), faults)
    elif origin is tuple:
        _check_items(value, typing.get_args(expected)[0], faults)
    elif origin is dict:
        _check_map(value, typing.get_args(expected), faults)
    elif origin is typing.Literal:
        _check_literal(value, typing.get_args(expected), faults)
    elif expected is Any:
        return
    elif isinstance(expected, type) and issubclass(expected, msgspec.Struct):
        _check_model(value, expected, faults)
    elif expected is Duration:
        try:
            Duration.decode(value)
        except ValueError as error:
            faults.add(str(error), Fault.TYPE)
    else:
        _check_plain(value, expected, faults)


def _check_model(value: Any, model: type[msgspec.Struct], faults: Faults) -> None:
    if not isinstance(value, Mapping):
        return _mismatch(value, "an object", faults)
    known = field_types(model)
    for name, item in value.items():
        if name in known:
            _check(item, known[name][0], faults.at(name))
        else:
            faults.at(str(name)).add("unknown field", Fault.UNKNOWN, nearest(str(name), known))
    for name, (_, required) in known.items():
        if required and name not in value:
            faults.at(name).add("is required", Fault.REQUIRED)
    return None


def _check_items(value: Any, item_type: Any, faults: Faults) -> None:
    if not isinstance(value, list | tuple):
        return _mismatch(value, "a list", faults)
    for index, item in enumerate(value):
        _check(item, item_type, faults.item(index))
    return None


def _check_map(value: Any, arguments: tuple[Any, Any], faults: Faults) -> None:
    if not isinstance(value, Mapping):
        return _mismatch(value, "an object", faults)
    key_type, item_type = arguments
    for key, item in value.items():
        if key_type is int and not str(key).isdigit():
            faults.key(str(key)).add(f"expected a number as the key, found {key!r}", Fault.TYPE)
        elif key_type is str and not isinstance(key, str):
            faults.key(str(key)).add(f"expected a string as the key, found {key!r}", Fault.TYPE)
        _check(item, item_type, faults.key(str(key)))
    return None


def _check_union(value: Any, options: tuple[Any, ...], faults: Faults) -> None:
    if value is None and type(None) in options:
        return None
    rest = [option for option in options if option is not type(None)]
    if len(rest) == 1:
        return _check(value, rest[0], faults)
    for option in rest:
        attempt = Faults(faults.path)
        _check(value, option, attempt)
        if not attempt.errors:
            return None
    return _mismatch(value, " or ".join(_NAMES.get(option, str(option)) for option in rest), faults)


def _check_literal(value: Any, allowed: tuple[Any, ...], faults: Faults) -> None:
    if value not in allowed or isinstance(value, bool):
        words = ", ".join(str(word) for word in allowed if word != "")
        faults.add(
            f"{value!r} is not one of {words}",
            Fault.INVALID,
            nearest(value, [str(word) for word in allowed]) if isinstance(value, str) else "",
        )


def _check_annotated(value: Any, expected: Any, faults: Faults) -> None:
    base, *metadata = typing.get_args(expected)
    before = len(faults.errors)
    _check(value, base, faults)
    if len(faults.errors) > before:
        return
    try:
        msgspec.convert(value, expected, dec_hook=_decode_scalar)
    except msgspec.ValidationError:
        faults.add(f"{value!r} is out of range: {_bounds(metadata)}")


def _bounds(metadata: list[Any]) -> str:
    said = []
    for meta in metadata:
        if isinstance(meta, msgspec.Meta):
            if meta.ge is not None:
                said.append(f"at least {meta.ge}")
            if meta.gt is not None:
                said.append(f"more than {meta.gt}")
            if meta.le is not None:
                said.append(f"at most {meta.le}")
            if meta.min_length:
                said.append(f"at least {meta.min_length} long")
            if meta.max_length is not None:
                said.append(f"at most {meta.max_length} long")
            if meta.pattern is not None:
                said.append(f"of the form {meta.pattern}")
    return "expected " + " and ".join(said)


def _check_plain(value: Any, expected: Any, faults: Faults) -> None:
    accepts = _ACCEPTS.get(expected)
    if accepts is None:
        return
    if not isinstance(value, accepts) or (isinstance(value, bool) and expected is not bool):
        _mismatch(value, _NAMES[expected], faults)


def _mismatch(value: Any, expected: str, faults: Faults) -> None:
    kind = {
        str: "string", bool: "boolean", int: "integer", float: "number",
        list: "list", dict: "object", type(None): "null",
    }.get(type(value), type(value).__name__)  # fmt: skip
    shown = repr(value) if isinstance(value, str | int | float | bool) else ""
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    faults.add(f"expected {expected}, found {kind} {shown}".rstrip(), Fault.TYPE)
