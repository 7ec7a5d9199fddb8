"""What a change would do, as text."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from marline.cli.output import bad, doubtful, good
from marline.explain.changes import EnvoyChange, Forecast, ProxyChange
from marline.explain.consequences import Consequence
from marline.explain.origin import Place

_MOST_LINES: Final = 12
_MOST_NAMES: Final = 4
_SIGNS: Final = {"added": "+", "removed": "-", "changed": "~"}
_STYLES: Final[Mapping[str, Callable[[str], str]]] = {
    "lost": bad, "endpoints": bad, "tls": doubtful, "shadowed": doubtful, "moved": str, "route": str,
    "gained": good,
}  # fmt: skip
_HEADINGS: Final = {
    "lost": "loses access", "endpoints": "endpoints", "tls": "TLS", "shadowed": "never reached",
    "moved": "traffic moves", "route": "routes", "gained": "gains access",
}  # fmt: skip


class ResourceChange(msgspec.Struct, frozen=True, rename="camel"):
    """One of the user's resources that differs."""

    resource: Place
    action: str
    """`created`, `configured` or `deleted`."""
    lines: tuple[str, ...]
    """A unified diff of its YAML."""


def render(resources: Sequence[ResourceChange], found: Forecast) -> str:
    """All of it; "" if nothing differs."""
    lines: list[str] = []
    for resource in resources:
        lines += [f"{resource.resource.text} would be {resource.action}", *map(_coloured, resource.lines), ""]
    for change in found.proxies:
        lines += [*_proxies(change), ""]
    if resources and not found.proxies:
        lines += ["No proxy that is connected would get anything new.", ""]
    if found.consequences:
        lines += ["What follows:", *map(_consequence, found.consequences)]
    return "".join(f"{line}\n" for line in lines)


def _coloured(line: str) -> str:
    return good(line) if line.startswith("+") else bad(line) if line.startswith("-") else line


def _proxies(change: ProxyChange) -> Iterator[str]:
    count = len(change.proxies)
    yield f"{count} {'proxy' if count == 1 else 'proxies'} would change: {_names(change.proxies)}"
    for resource in change.resources:
        yield from _resource(resource)


def _resource(change: EnvoyChange) -> Iterator[str]:
    yield f"  {_SIGNS[change.action]} {change.type} {change.name}"
    for line in change.lines[:_MOST_LINES]:
        yield f"      {_coloured(line)}"
    if len(change.lines) > _MOST_LINES:
        yield f"      … {len(change.lines) - _MOST_LINES} more lines (-o json has all)"


def _consequence(item: Consequence) -> str:
    whom = f" [{_names(item.proxies)}]" if item.proxies else ""
    return f"  {_HEADINGS[item.kind]:15}{_STYLES[item.kind](item.text)}{whom}"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
