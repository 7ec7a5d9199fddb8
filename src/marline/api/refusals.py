"""What Marline understands but does not act on: tables of field patterns, one in each kind's module.

A pattern is a field path under `spec`: `http[].delegate` is that field of any rule, `{}` stands for
any key, and `tls.mode=ISTIO_MUTUAL` means the field with that value, `rootNamespace!=istio-system` with any
other. Accepting such a field and ignoring
it would be a lie, so writing it is refused, with the reason. What an ordinary manifest says about the world
outside the mesh is accepted, and whoever writes it is told that it has no effect: a second table, of the same
form.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from marline.api.faults import Faults

Refusals = Mapping[str, str]
_STEP: Final = re.compile(r"\[\]|\{\}|[^.\[\{]+")


def refuse(spec: Any, table: Refusals, faults: Faults) -> None:
    """Add a NOT_SUPPORTED fault for each place in the plain object `spec` that a pattern names."""
    for where, found, reason in _named(spec, table, faults):
        where.unsupported(f"{found} is not acted on: {reason}" if found else f"is not acted on: {reason}")


def ineffective(spec: Any, table: Refusals, where: str) -> tuple[str, ...]:
    """What is to be said about a plain object `spec` of which a table names parts that have no effect."""
    return tuple(
        f"{faults.path}: {found or 'it'} has no effect: {reason}"
        for faults, found, reason in _named(spec, table, Faults(where))
    )


def _named(spec: Any, table: Refusals, faults: Faults) -> Iterator[tuple[Faults, str, str]]:
    """Each place that a pattern names, the value found there if the pattern has one, and the reason."""
    for pattern, reason in table.items():
        path, equals, wanted = pattern.partition("=")
        steps = _STEP.findall(path.removesuffix("!"))
        for value, where in _find(spec, steps, faults):
            if path.endswith("!"):
                if value not in (None, "") and _text(value) != wanted:
                    yield where, _text(value), reason
            elif _text(value) == wanted if equals else value not in (None, "", [], {}, False, 0):
                yield where, wanted, reason


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _find(value: Any, steps: list[str], faults: Faults) -> Iterator[tuple[Any, Faults]]:
    if not steps:
        yield value, faults
        return
    step, rest = steps[0], steps[1:]
    if step == "[]":
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield from _find(item, rest, faults.item(index))
    elif step == "{}":
        if isinstance(value, Mapping):
            for key, item in value.items():
                yield from _find(item, rest, faults.key(str(key)))
    elif isinstance(value, Mapping) and step in value:
        yield from _find(value[step], rest, faults.at(step))
