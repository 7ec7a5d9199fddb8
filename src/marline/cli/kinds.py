"""Resources as users name them on the command line: `vs`, `virtualservice reviews`, `dr/reviews`."""

from collections.abc import Sequence
from typing import NamedTuple

import click

from marline.api.faults import nearest
from marline.api.registry import KINDS, Kind, kinds_called
from marline.api.resource import Ref


class Target(NamedTuple):
    """What a command is about: one resource, or all of its kind if `name` is empty."""

    kind: Kind
    name: str


def choose_kinds(words: str) -> tuple[Kind, ...]:
    """The kinds of a comma-separated list of names and categories (`all`, `istio-io`, `gateway-api`)."""
    found: list[Kind] = []
    for word in words.split(","):
        members = [kind for kind in KINDS if word.lower() in kind.categories]
        found += members or [choose_kind(word)]
    return tuple({(kind.group, kind.kind): kind for kind in found}.values())


def choose_kind(word: str) -> Kind:
    """The one kind that a word means. Raises `click.UsageError` if it means none or several."""
    found = kinds_called(word)
    if len(found) == 1:
        return found[0]
    if found:
        listed = " or ".join(qualified_plural(kind) for kind in found)
        raise click.UsageError(f"{word!r} may mean {listed}; name one of them")
    names = [name for kind in KINDS for name in (kind.plural, kind.singular, *kind.short_names)]
    close = nearest(word, names)
    hint = f"; did you mean {close!r}?" if close else f"; known are {', '.join(sorted(_plurals()))}"
    raise click.UsageError(f"there is no kind {word!r}{hint}")


def _plurals() -> set[str]:
    return {kind.plural for kind in KINDS}


def choose_targets(words: Sequence[str]) -> tuple[Target, ...]:
    """`KIND[,KIND…] [NAME…]` or `KIND/NAME…`. Raises `click.UsageError`."""
    if not words:
        raise click.UsageError("name a kind, such as virtualservices")
    if any("/" in word for word in words):
        return tuple(_target(word) for word in words)
    kinds, names = choose_kinds(words[0]), words[1:]
    if names and len(kinds) > 1:
        raise click.UsageError(f"{words[0]!r} means several kinds; names need one kind")
    return tuple(Target(kind, name) for kind in kinds for name in (names or ("",)))


def _target(word: str) -> Target:
    kind, slash, name = word.partition("/")
    if not slash or not name or "/" in name:
        raise click.UsageError(f"{word!r} is not KIND/NAME")
    return Target(choose_kind(kind), name)


def qualified_plural(kind: Kind) -> str:
    """`virtualservices.networking.istio.io`, `services`."""
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def qualified_singular(kind: Kind) -> str:
    """`virtualservice.networking.istio.io`, `service`."""
    return f"{kind.singular}.{kind.group}" if kind.group else kind.singular


def ref_to(target: Target, namespace: str) -> Ref:
    """The resource of that name; kinds without namespaces ignore `namespace`."""
    kind = target.kind
    return Ref(kind.group, kind.kind, namespace if kind.namespaced else "", target.name)


def said(ref: Ref) -> str:
    """A resource as kubectl names what it did: `virtualservice.networking.istio.io/reviews`."""
    group = f".{ref.group}" if ref.group else ""
    return f"{ref.kind.lower()}{group}/{ref.name}"
