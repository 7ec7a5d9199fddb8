"""Makes wrong resources of valid ones, each wrong in one field, and says which.

The mutations follow the models, so a field that is added to a model is covered without a line here.
"""

import copy
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from api_examples import body_of, examples, examples_of, kind_in

from marline.api.registry import Kind
from marline.api.scalars import Duration
from marline.api.shape import field_types


@dataclass(frozen=True)
class Wrong:
    """A resource and the path of the field that is wrong in it."""

    obj: dict[str, Any]
    path: str
    how: str

    def __str__(self) -> str:
        return f"{self.obj['kind']} {self.path}: {self.how}"


@dataclass(frozen=True)
class Field:
    """A field of an example: the keys that lead to it, its path, its type."""

    model: type[msgspec.Struct]
    """What the field is one of."""
    keys: tuple[str | int, ...]
    path: str
    type: Any
    required: bool


def fields_of(value: Any, model: Any, keys: tuple[str | int, ...] = (), path: str = "") -> Iterator[Field]:
    """Every field that is there, those of the innermost models included."""
    model = plain(model)
    if isinstance(model, type) and issubclass(model, msgspec.Struct):
        known = field_types(model)
        for name, item in value.items():
            if name not in known:
                continue
            below = f"{path}.{name}" if path else name
            kind, required = known[name]
            yield Field(model, (*keys, name), below, kind, required)
            yield from fields_of(item, kind, (*keys, name), below)
    elif typing.get_origin(model) is tuple:
        for index, item in enumerate(value):
            yield from fields_of(item, typing.get_args(model)[0], (*keys, index), f"{path}[{index}]")
    elif typing.get_origin(model) is dict:
        for key, item in value.items():
            yield from fields_of(item, typing.get_args(model)[1], (*keys, key), f"{path}[{key}]")


def plain(kind: Any) -> Any:
    """A type without its bounds, and without None if only one other is left."""
    if typing.get_origin(kind) is typing.Annotated:
        return plain(typing.get_args(kind)[0])
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        rest = [item for item in typing.get_args(kind) if item is not type(None)]
        return plain(rest[0]) if len(rest) == 1 else kind
    return kind


def wrong_resources() -> Iterator[Wrong]:
    for obj in examples():
        kind = kind_in(obj)
        prefix = "spec." if kind.in_spec else ""
        for field in fields_of(body_of(obj), kind.spec):
            for how, change in _changes(field):
                made = copy.deepcopy(obj)
                name = change(_holder(body_of(made), field.keys), field.keys[-1])
                parent = field.path.rpartition(".")[0]
                yield Wrong(made, prefix + (f"{parent}.{name}".lstrip(".") if name else field.path), how)


def _holder(value: Any, keys: tuple[str | int, ...]) -> Any:
    for key in keys[:-1]:
        value = value[key]
    return value


def _changes(field: Field) -> Iterator[tuple[str, Any]]:
    """Ways to make a field wrong. Each change is given the object around it and the field's name, and
    returns another name if the fault is in that."""
    yield "a misspelt field", _rename(misspell(str(field.keys[-1]), frozenset(field_types(field.model))))
    yield "a value of another type", _set(other_type(field.type))
    if field.required:
        yield "a missing required field", _delete
    if typing.get_origin(plain(field.type)) is typing.Literal:
        yield "a value that is not one of those known", _set("NO_SUCH_VALUE")
    for bound in bounds(field.type):
        yield "a number out of range", _set(bound)
    if plain(field.type) is Duration:
        yield "a duration without a unit", _set("10")


def _set(value: Any) -> Any:
    def change(holder: Any, name: str) -> None:
        holder[name] = copy.deepcopy(value)

    return change


def _rename(other: str) -> Any:
    def change(holder: Any, name: str) -> str:
        holder[other] = holder.pop(name)
        return other

    return change


def _delete(holder: Any, name: str) -> None:
    del holder[name]


def misspell(name: str, known: frozenset[str]) -> str:
    """The name with a letter doubled, so that it is none of the known ones."""
    for index in range(len(name) - 1, -1, -1):
        other = name[: index + 1] + name[index:]
        if other not in known:
            return other
    raise AssertionError(name)


def other_type(kind: Any) -> Any:
    """A value that no field of this type takes."""
    kind = plain(kind)
    if typing.get_origin(kind) is tuple or (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return "text"
    if typing.get_origin(kind) is dict:
        return ["text"]
    return {"an": "object"} if kind is str else ["a list"]


def bounds(kind: Any) -> Iterator[Any]:
    """The values next to the range of a number."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        for option in typing.get_args(kind):
            yield from bounds(option)
    if typing.get_origin(kind) is not typing.Annotated:
        return
    for meta in typing.get_args(kind)[1:]:
        if isinstance(meta, msgspec.Meta):
            yield from (meta.ge - 1,) if meta.ge is not None else ()
            yield from (meta.le + 1,) if meta.le is not None else ()


def refused_resources(kind: Kind) -> Iterator[Wrong]:
    """For each pattern of a kind's table of refusals, an example in which that field is set."""
    prefix = "spec." if kind.in_spec else ""
    for pattern in kind.refused:
        path, _, wanted = pattern.partition("=")
        made, where, holder_type = _place(kind, path)
        name = path.rpartition(".")[2]
        value = wanted or sample(holder_type)
        if name.endswith("[]"):
            value = [value]
            where += "[0]"
        made[1][name.removesuffix("[]")] = value
        yield Wrong(made[0], prefix + where, f"refused: {pattern}")


def _place(kind: Kind, path: str) -> tuple[tuple[dict[str, Any], Any], str, Any]:
    """An example with the object around the field `path` (made if need be), the field's path and type."""
    obj = examples_of(kind)[0]
    holder, model, where = body_of(obj), kind.spec, ""
    steps = path.split(".")
    for number, step in enumerate(steps):
        name, is_list = step.removesuffix("[]"), step.endswith("[]")
        below = plain(field_types(plain(model))[name][0])
        where = f"{where}.{name}".lstrip(".")
        item = plain(typing.get_args(below)[0]) if is_list else below
        if number == len(steps) - 1:
            return (obj, holder), where, item
        if is_list:
            holder.setdefault(name, []) or holder[name].append(sample(item))
            holder, where = holder[name][0], f"{where}[0]"
        else:
            holder = holder.setdefault(name, {})
        model = item
    raise AssertionError(path)


def sample(kind: Any) -> Any:
    """A value of a type, with no more in it than must be."""
    for meta in typing.get_args(kind)[1:] if typing.get_origin(kind) is typing.Annotated else ():
        if isinstance(meta, msgspec.Meta) and meta.ge is not None:
            return meta.ge or 1
    kind = plain(kind)
    origin = typing.get_origin(kind)
    if origin is tuple:
        return [sample(typing.get_args(kind)[0])]
    if origin is dict:
        return {"key": sample(typing.get_args(kind)[1])}
    if origin is typing.Literal:
        return typing.get_args(kind)[-1]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        known = field_types(kind)
        chosen = [name for name, (_, required) in known.items() if required] or list(known)[:1]
        return {name: sample(known[name][0]) for name in chosen}
    return {str: "text", int: 1, float: 1.0, bool: True, Duration: "1s"}[kind]
