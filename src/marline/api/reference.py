"""The reference of resources, written from the table of kinds: what is served, and what is refused.

`make docs` writes it to `docs/resources.md`.
"""

from collections.abc import Iterator
from typing import Final

from marline.api.registry import KINDS, Kind

_HEAD: Final = """# Resources

Written by `make docs` from `src/marline/api`; do not edit.

Marline takes the resources below in all of these versions, with every field that their owners document. A
field that it does not act on is refused when it is applied, with the reason given here; nothing is ignored.
In a pattern, `[]` stands for any item, `{}` for any key, and `=` for one value of a field.
"""


def reference() -> str:
    """The page, in Markdown."""
    return "\n".join([_HEAD, *_summary(), "", *(line for kind in KINDS for line in _details(kind))]) + "\n"


def _summary() -> Iterator[str]:
    yield "| kind | group | versions | short names | |"
    yield "|---|---|---|---|---|"
    for kind in KINDS:
        versions, short = ", ".join(kind.versions), ", ".join(kind.short_names)
        refused = "refused as a whole" if kind.not_acted_on else ""
        yield f"| {kind.kind} | {kind.group or 'core'} | {versions} | {short} | {refused} |"


def _details(kind: Kind) -> Iterator[str]:
    if not kind.not_acted_on and not kind.refused:
        return
    yield f"## {kind.kind} ({kind.group or 'core'})"
    yield ""
    if kind.not_acted_on:
        yield f"Refused as a whole: {kind.not_acted_on}."
    else:
        yield "| refused | why |"
        yield "|---|---|"
        yield from (f"| `{pattern}` | {reason} |" for pattern, reason in sorted(kind.refused.items()))
    yield ""


if __name__ == "__main__":
    print(reference(), end="")
