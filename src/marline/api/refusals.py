"""What Marline understands but does not act on: tables of field patterns, one in each kind's module.

A pattern is a field path under `spec`: `http[].delegate` is that field of any rule, `{}` stands for
any key, and `tls.mode=ISTIO_MUTUAL` means the field with that value. Accepting such a field and ignoring
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
    for where, wanted, reason in _named(spec, table, faults):
        where.unsupported(f"{wanted} is not acted on: {reason}" if wanted else f"is not acted on: {reason}")


def ineffective(spec: Any, table: Refusals, where: str) -> tuple[str, ...]:
    """What is to be said about a plain object `spec` of which a table names parts that have no effect."""
    return tuple(
        f"{faults.path}: {wanted or 'it'} has no effect: {reason}"
        for faults, wanted, reason in _named(spec, table, Faults(where))
    )


def _named(spec: Any, table: Refusals, faults: Faults) -> Iterator[tuple[Faults, str, str]]:
    """Each place that a pattern names, the value that it names (if any), and the reason."""
    for pattern, reason in table.items():
        path, _, wanted = pattern.partition("=")
        for value, where in _find(spec, _STEP.findall(path), faults):
            if str(value) == wanted if wanted else value not in (None, "", [], {}, False, 0):
                yield where, wanted, reason


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
