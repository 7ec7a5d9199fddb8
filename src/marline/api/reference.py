"""The reference of resources, written from the models: every field of every kind, what is refused of it,
and the tests that show what it does.

`make docs` writes it to `docs/reference`.
"""

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from marline.api.mesh_config import rules as mesh_config
from marline.api.mesh_config.model import MeshConfig
from marline.api.refusals import Refusals
from marline.api.registry import KINDS, Kind
from marline.api.scalars import Duration
from marline.api.shape import field_types

Proofs = Mapping[str, tuple[str, ...]]
"""By field (`networking.TCPSettings.maxConnections`): the tests that show what it does, as Markdown."""

PLAIN_OBJECTS: Final = ("Namespace", "Secret", "ConfigMap", "Event", "EndpointSlice")
"""Kinds that others read: what their fields do is shown where those are."""

FOR_READERS: Final = frozenset(
    {
        "gateway_api.GatewayClassSpec.description",
        "gateway_api.TCPRouteRule.name",
        "gateway_api.TLSRouteRule.name",
        "gateway_api.UDPRouteRule.name",
        "networking.SidecarPort.name",
    }
)
"""What is said to people and their tools, and to no proxy: names by which nothing else in a mesh refers to
their bearers, and descriptions."""

_HEAD: Final = """# Resources

Written by `make docs` from the models and the tests; do not edit.

Marline takes the resources below in all of these versions, with every field that their owners document. A
field that it does not act on is refused when it is applied, with the reason that its kind's page gives;
nothing is ignored. Beside each field stand the tests that show, through running Envoys, what it does; or what
becomes of it instead: it is refused, or all but one value is (which says what holds anyway); it is without
effect, of which whoever applies it is warned; or it is for readers alone, such as a description.
"""
_PATTERNS: Final = (
    "In a pattern, `[]` stands for any item, `{}` for any key, `=` for one value of a field, and `!=` for "
    "any other than it."
)
_MESH_CONFIG: Final = Kind(
    "", "MeshConfig", "meshconfig", (), MeshConfig, refused=mesh_config.REFUSED,
    ineffective=mesh_config.INEFFECTIVE,
)  # fmt: skip
"""Not a kind: the YAML in the ConfigMap `istio` of the root namespace, under the key `mesh`."""
_PLAIN: Final = {str: "string", int: "integer", float: "number", bool: "boolean", Duration: "duration"}


def pages(proofs: Proofs) -> dict[str, str]:
    """Each page's text by its file name."""
    found = {"README.md": "\n".join([_HEAD, *_summary()]) + "\n"}
    for kind in (*KINDS, _MESH_CONFIG):
        found[page_name(kind)] = "\n".join(_page(kind, proofs)) + "\n"
    return found


def page_name(kind: Kind) -> str:
    return f"{kind.plural}.{kind.group or 'core'}.md"


def unproven(proofs: Proofs) -> list[str]:
    """The fields that are acted on and that no test shows."""
    kinds = [kind for kind in KINDS if not kind.not_acted_on and kind.kind not in PLAIN_OBJECTS]
    kinds.append(_MESH_CONFIG)
    found = {name: None for kind in kinds for name in _acted_on(kind) if name not in proofs}
    return sorted(found)


def unknown(proofs: Proofs) -> list[str]:
    """Fields that tests name and no model has."""
    known = {
        field_name(model, name)
        for kind in (*KINDS, _MESH_CONFIG)
        for model in models(kind.spec)
        for name in field_types(model)
    }
    return sorted(proofs.keys() - known)


def field_name(model: type[Any], name: str) -> str:
    """`networking.TCPSettings.maxConnections`: the package, the model, the field as it is written."""
    return f"{model.__module__.removeprefix('marline.api.').partition('.')[0]}.{model.__name__}.{name}"


def models(root: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """A model and those of its fields, each once, in the order in which a reader meets them."""
    found: dict[type[msgspec.Struct], None] = {}

    def visit(model: type[msgspec.Struct]) -> None:
        if model in found:
            return
        found[model] = None
        for expected, _ in field_types(model).values():
            for inner in _inner_models(expected):
                visit(inner)

    visit(root)
    return list(found)


def _inner_models(expected: Any) -> list[type[msgspec.Struct]]:
    if isinstance(expected, type) and issubclass(expected, msgspec.Struct):
        return [expected]
    return [found for item in typing.get_args(expected) for found in _inner_models(item)]


def _acted_on(kind: Kind) -> Iterator[str]:
    """The fields of plain values, at any place where they do something."""
    for name, is_plain, fate in _fates(kind):
        if is_plain and not fate:
            yield name


def _fates(kind: Kind) -> Iterator[tuple[str, bool, str]]:
    """Each field at each place where it can be: is it one of plain values, and what becomes of it there if it
    is not acted on."""
    refused = {pattern for pattern in kind.refused if "=" not in pattern}
    ineffective = {pattern for pattern in kind.ineffective if "=" not in pattern}

    def visit(
        model: type[msgspec.Struct], path: str, inside: tuple[type[msgspec.Struct], ...], outer: str
    ) -> Iterator[tuple[str, bool, str]]:
        for name, (expected, _) in field_types(model).items():
            where, own = f"{path}.{name}".lstrip("."), field_name(model, name)
            inner = _inner_models(expected)
            fate = outer
            if where in refused:
                fate = fate or "refused"
            elif where in ineffective:
                fate = fate or "without effect"
            elif own in FOR_READERS:
                fate = fate or "for readers"
            elif (only := _only_value(kind, where, expected)) is not None:
                fate = fate or f"only `{only}` is taken"
            yield own, not inner, fate
            for item in inner:
                if item not in inside:
                    yield from visit(item, where + _step(expected), (*inside, item), fate)

    yield from visit(kind.spec, "", (kind.spec,), "")


def _only_value(kind: Kind, where: str, expected: Any) -> str | None:
    """The one value that a field can have: what holds anyway, which may be said."""
    for pattern in kind.refused:
        place, differs, value = pattern.partition("!=")
        if differs and place.removesuffix("[]") == where:
            return value
    allowed = [value for value in typing.get_args(expected) if f"{where}={value}" not in kind.refused]
    return allowed[0] if typing.get_origin(expected) is typing.Literal and len(allowed) == 1 else None


def _step(expected: Any) -> str:
    """What a pattern writes after the field, to name what is in it."""
    if typing.get_origin(expected) is tuple:
        return "[]"
    if typing.get_origin(expected) is dict:
        return "{}"
    return next((step for item in typing.get_args(expected) if (step := _step(item))), "")


def _summary() -> Iterator[str]:
    yield "| kind | group | versions | short names | |"
    yield "|---|---|---|---|---|"
    for kind in KINDS:
        versions, short = ", ".join(kind.versions), ", ".join(kind.short_names)
        refused = "refused as a whole" if kind.not_acted_on else ""
        link = f"[{kind.kind}]({page_name(kind)})"
        yield f"| {link} | {kind.group or 'core'} | {versions} | {short} | {refused} |"
    yield ""
    place = mesh_config.MESH_CONFIG
    yield (
        f"What holds for the whole mesh is said in a ConfigMap, `{place.name}` in the namespace "
        f"`{place.namespace}`, by YAML under the key `{mesh_config.KEY}`: "
        f"[MeshConfig]({page_name(_MESH_CONFIG)})."
    )


def _page(kind: Kind, proofs: Proofs) -> Iterator[str]:
    yield f"# {kind.kind} ({kind.group or 'core'})"
    yield ""
    if kind.not_acted_on:
        yield f"Refused as a whole: {kind.not_acted_on}."
        return
    if kind.refused or kind.ineffective:
        yield _PATTERNS
        yield ""
    yield from _table("refused", kind.refused)
    yield from _table("accepted without effect, with a warning", kind.ineffective)
    fates: dict[str, set[str]] = {}
    for name, _, fate in _fates(kind):
        fates.setdefault(name, set()).add(fate)
    idle = {name: next(iter(found)) for name, found in fates.items() if len(found) == 1}
    for model in models(kind.spec):
        yield from _model(model, proofs, idle)


def _table(head: str, patterns: Refusals) -> Iterator[str]:
    if patterns:
        yield f"| {head} | why |"
        yield "|---|---|"
        yield from (f"| `{pattern}` | {reason} |" for pattern, reason in sorted(patterns.items()))
        yield ""


def _model(model: type[msgspec.Struct], proofs: Proofs, idle: Mapping[str, str]) -> Iterator[str]:
    """`idle`: what becomes of fields wherever they stand, "" if they are acted on."""
    yield f"## {model.__name__}"
    yield ""
    yield "| field | type | shown by |"
    yield "|---|---|---|"
    for name, (expected, required) in field_types(model).items():
        own = field_name(model, name)
        shown = ", ".join(proofs.get(own, ())) or idle.get(own, "")
        yield f"| `{name}`{' (required)' if required else ''} | {_type(expected)} | {shown} |"
    yield ""


def _type(expected: Any) -> str:
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(item) for item in arguments if item is not type(None))
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"map to {_type(arguments[1])}"
    if origin is typing.Literal:
        return " \\| ".join(f"`{value}`" for value in arguments if value)
    if isinstance(expected, type) and issubclass(expected, msgspec.Struct):
        return f"[{expected.__name__}](#{expected.__name__.lower()})"
    return _PLAIN.get(expected, "any")
