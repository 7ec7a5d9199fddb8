"""The JSON schemas of the served kinds, derived from their models."""

import inspect
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from marline.api.registry import Kind
from marline.api.resource import ObjectMeta
from marline.api.scalars import Duration
from marline.api.shape import field_types
from marline.store.embedded.http.target import Served
from marline.store.list_types import ListMap, ListSet, Path, Types, list_types

META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1"

_NAMES: Final = {
    "": "io.k8s.api.core",
    "discovery.k8s.io": "io.k8s.api.discovery",
    "events.k8s.io": "io.k8s.api.events",
    "extensions.istio.io": "io.istio.extensions",
    "gateway.networking.k8s.io": "io.k8s.networking.gateway",
    "networking.istio.io": "io.istio.networking",
    "policy.marline.io": "io.marline.policy",
    "rbac.authorization.k8s.io": "io.k8s.api.rbac",
    "security.istio.io": "io.istio.security",
    "telemetry.istio.io": "io.istio.telemetry",
}
_PLAIN: Final = {str: "string", int: "integer", float: "number", bool: "boolean"}


def definition_name(served: Served) -> str:
    """`io.istio.networking.v1.VirtualService`, as Kubernetes names definitions."""
    return f"{_NAMES[served.group]}.{served.version}.{served.kind.kind}"


def schemas_of(served: Served) -> dict[str, Any]:
    """The definitions of one kind, its list, and what they refer to, by name."""
    kind = served.kind
    name = definition_name(served)
    gvk = [{"group": served.group, "version": served.version, "kind": kind.kind}]
    listed = [{"group": served.group, "version": served.version, "kind": f"{kind.kind}List"}]
    properties: dict[str, Any] = {
        "apiVersion": _text("The version of the API that this object is written in."),
        "kind": _text("The kind of this object."),
        "metadata": {**_reference("ObjectMeta"), "description": "Name, namespace, labels, annotations."},
    }
    body = schema(kind.spec, _about(kind), ("spec",) if kind.in_spec else ())
    if kind.in_spec:
        properties["spec"] = {**body, "description": _doc(kind.spec) or f"What this {kind.kind} is to do."}
    else:
        shown = body["properties"]
        properties |= served.show(shown) if served.show else shown
    if kind.status:
        properties["status"] = {
            "type": "object",
            "description": "What the mesh has observed; written by controllers.",
            "x-kubernetes-preserve-unknown-fields": True,
        }
    whole = {
        "type": "object",
        "description": _doc_of_kind(served),
        "properties": properties,
        "x-kubernetes-group-version-kind": gvk,
    }
    items = {
        "type": "object",
        "description": f"A list of {kind.kind}.",
        "required": ["items"],
        "properties": {
            "apiVersion": _text("The version of the API."),
            "kind": _text("The kind of this list."),
            "metadata": _reference("ListMeta"),
            "items": {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}},
        },
        "x-kubernetes-group-version-kind": listed,
    }
    return {name: whole, f"{name}List": items, **_meta()}


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a kind's fields beside their types, by path without indexes."""

    lists: Types
    """Which lists are merged item by item."""
    refused: Mapping[Path, str] = field(default_factory=dict)
    """What of a field is not acted on, and why."""


def _about(kind: Kind) -> About:
    notes: dict[Path, str] = {}
    for pattern, reason in kind.refused.items():
        path, _, value = pattern.partition("=")
        steps = tuple(filter(None, re.split(r"[.\[\]{}]+", path)))
        where = ("spec", *steps) if kind.in_spec else steps
        note = f"{value} is not acted on: {reason}." if value else f"Not acted on: {reason}."
        notes[where] = f"{notes[where]} {note}" if where in notes else note
    return About(list_types(kind.group, kind.kind), notes)


def _doc_of_kind(served: Served) -> str:
    text = _doc_of_model(served)
    refused = served.kind.not_acted_on
    return f"{text} Not acted on: {refused}." if refused else text


def _doc_of_model(served: Served) -> str:
    module = inspect.getmodule(served.kind.spec)
    text = inspect.cleandoc(module.__doc__ or "").partition("\n")[0] if module else ""
    return _doc(served.kind.spec) or (text if served.kind.kind in text else f"{served.kind.kind}: {text}")


def _doc(model: type[Any]) -> str:
    """The docstring that a model itself has."""
    text = model.__dict__.get("__doc__")
    return inspect.cleandoc(text) if isinstance(text, str) else ""


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _reference(name: str) -> dict[str, Any]:
    return {"allOf": [{"$ref": f"#/components/schemas/{META}.{name}"}]}


def _meta() -> dict[str, Any]:
    return {
        f"{META}.ObjectMeta": schema(ObjectMeta, About(list_types("", "")), ("metadata",)),
        f"{META}.ListMeta": {
            "type": "object",
            "properties": {
                "resourceVersion": _text("The version of the state that this list shows."),
                "continue": _text("Where the next page begins."),
                "remainingItemCount": {"type": "integer", "format": "int64"},
            },
        },
        f"{META}.Patch": {"type": "object", "description": "A patch, in one of the formats."},
        f"{META}.DeleteOptions": {
            "type": "object",
            "properties": {
                "propagationPolicy": _text("Background, Foreground or Orphan."),
                "preconditions": {"type": "object"},
                "dryRun": {"type": "array", "items": {"type": "string"}},
            },
        },
    }


def schema(expected: Any, about: About, path: Path) -> dict[str, Any]:
    """The schema of a type of the models; `about` says what the type does not."""
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin is typing.Annotated:
        return schema(arguments[0], about, path) | _limits(arguments[1:])
    if origin in (typing.Union, types.UnionType):
        return _union([item for item in arguments if item is not type(None)], about, path)
    if origin is tuple:
        return {"type": "array", "items": schema(arguments[0], about, path), **_list_type(about, path)}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema(arguments[1], about, path)}
    if origin is typing.Literal:
        return {"type": "string", "enum": [value for value in arguments if value]}
    if expected is Duration:
        return {"type": "string", "format": "duration"}
    if isinstance(expected, type) and issubclass(expected, msgspec.Struct):
        return _model(expected, about, path)
    if expected in _PLAIN:
        return {"type": _PLAIN[expected]}
    return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def _model(model: type[msgspec.Struct], about: About, path: Path) -> dict[str, Any]:
    fields = field_types(model)
    required = [name for name, (_, needed) in fields.items() if needed]
    properties = {name: _field(kind, about, (*path, name)) for name, (kind, _) in fields.items()}
    result: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        result["required"] = required
    if text := _doc(model):
        result["description"] = text
    return result


def _field(expected: Any, about: About, path: Path) -> dict[str, Any]:
    found = schema(expected, about, path)
    note = about.refused.get(path)
    if note:
        found["description"] = f"{found['description']} {note}" if "description" in found else note
    return found


def _union(choices: list[Any], about: About, path: Path) -> dict[str, Any]:
    if len(choices) == 1:
        return schema(choices[0], about, path)
    if set(choices) == {int, str}:
        return {"x-kubernetes-int-or-string": True, "oneOf": [{"type": "integer"}, {"type": "string"}]}
    return {"oneOf": [schema(choice, about, path) for choice in choices]}


def _limits(notes: tuple[Any, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for note in notes:
        if isinstance(note, msgspec.Meta):
            names = {
                "ge": "minimum", "le": "maximum", "min_length": "minLength", "max_length": "maxLength",
                "pattern": "pattern", "description": "description",
            }  # fmt: skip
            found |= {
                name: getattr(note, attribute)
                for attribute, name in names.items()
                if getattr(note, attribute) is not None
            }
    return found


def _list_type(about: About, path: Path) -> dict[str, Any]:
    match about.lists.get(path):
        case ListMap(keys=keys, patch_key=patch_key):
            merged = {"x-kubernetes-patch-merge-key": patch_key, "x-kubernetes-patch-strategy": "merge"}
            return {
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": list(keys),
                **(merged if patch_key else {}),
            }
        case ListSet():
            return {"x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge"}
    return {"x-kubernetes-list-type": "atomic"}
