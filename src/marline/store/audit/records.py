"""What a record of a change says, and how records are chained. Pure.

A line of the log is JSON whose last member is `hash`: the SHA-256 of the line without it. `previous` is the
hash of the line before.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import msgspec

from marline.store.managed_fields import LAST_APPLIED

GENESIS: Final = "0" * 64
"""What the first record of all has as `previous`."""
REDACTED: Final = "(redacted)"
_HASH: Final = re.compile(rb',"hash":"([0-9a-f]{64})"}')
_HASH_LENGTH: Final = len(',"hash":""}') + 64
_OF_SERVER: Final = frozenset({"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"})
"""Of the metadata: what the server keeps, and says nothing about what somebody wanted."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who is answerable for a change."""

    user: str
    groups: tuple[str, ...] = ()
    impersonated_by: str = ""
    """Who has acted as `user`, if somebody has."""


class Target(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What it is about: a resource, or a path of the API."""

    group: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return self.path
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """One field that differs: `old` or `new` is missing where there was or is nothing."""

    path: str
    """A JSON pointer (RFC 6901)."""
    old: Any = msgspec.UNSET
    new: Any = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Draft:
    """A record that has no place in the chain yet."""

    author: Author
    verb: str
    """`create`, `update`, `delete`; what else is done, such as `sign`."""
    target: Target
    changes: tuple[Change, ...] = ()
    outcome: str = "done"
    """Or `refused`."""
    message: str = ""

    def record(self, seq: int, time: str, previous: str) -> "Record":
        author = self.author
        return Record(
            seq, time, author.user, self.verb, self.target, previous, self.outcome, author.groups,
            author.impersonated_by, self.changes, self.message,
        )  # fmt: skip


class Entry(Protocol):
    """What is to be in a log, once it has a place in the chain."""

    def record(self, seq: int, time: str, previous: str) -> msgspec.Struct:
        """`time`: when it is written down."""


class Link(msgspec.Struct, frozen=True):
    """What every record has, whatever it tells of."""

    seq: int
    previous: str
    hash: str


Read = TypeVar("Read", bound=msgspec.Struct)


class Record(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A line of the log."""

    seq: int
    time: str
    user: str
    verb: str
    target: Target
    previous: str
    outcome: str = "done"
    groups: tuple[str, ...] = ()
    impersonated_by: str = ""
    changes: tuple[Change, ...] = ()
    message: str = ""
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """The last record: whoever has it can tell whether what leads to it is still what it was."""

    seq: int = 0
    hash: str = GENESIS

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """Raises ValueError."""
        seq, _, digest = text.strip().partition(":")
        if not re.fullmatch(r"[0-9]{1,18}", seq) or not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise ValueError(f"{text.strip()!r} is not a head: <number>:<64 hexadecimal digits>")
        return cls(int(seq), digest)


def chained(entry: Entry, head: Head, time: str) -> tuple[bytes, Head]:
    """The line of a record that follows `head`, and the new head."""
    seq = head.seq + 1
    body = msgspec.json.encode(entry.record(seq, time, head.hash))
    digest = hashlib.sha256(body).hexdigest()
    return body[:-1] + f',"hash":"{digest}"}}'.encode(), Head(seq, digest)


def read(line: bytes, kind: type[Read]) -> Read:
    """A record whose hash is right. Raises ValueError with what is wrong."""
    cut = len(line) - _HASH_LENGTH
    found = _HASH.fullmatch(line[max(cut, 0) :])
    if cut <= 0 or not found:
        raise ValueError("is no record: it does not end with a hash")
    if hashlib.sha256(line[:cut] + b"}").hexdigest().encode() != found[1]:
        raise ValueError("has been changed: its hash is another")
    return msgspec.json.decode(line, type=kind)


def differences(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> tuple[Change, ...]:
    """What differs between an object as it was and as it is, without the values of Secrets."""
    before, after = (_shown(obj) if obj is not None else msgspec.UNSET for obj in (old, new))
    found = tuple(_differences("", before, after))
    if (old or new or {}).get("kind") == "Secret":
        return tuple(_redacted(change) for change in found)
    return found


def _shown(obj: Mapping[str, Any]) -> dict[str, Any]:
    # The annotation is a copy of the object, the values of Secrets among it.
    metadata = {key: value for key, value in obj.get("metadata", {}).items() if key not in _OF_SERVER}
    annotations = {
        key: value for key, value in (metadata.get("annotations") or {}).items() if key != LAST_APPLIED
    }
    metadata.pop("annotations", None)
    return {**obj, "metadata": metadata | ({"annotations": annotations} if annotations else {})}


def _differences(path: str, old: Any, new: Any) -> Iterator[Change]:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            step = str(key).replace("~", "~0").replace("/", "~1")
            yield from _differences(
                f"{path}/{step}", old.get(key, msgspec.UNSET), new.get(key, msgspec.UNSET)
            )
        return
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _differences(f"{path}/{index}", before, after)
        return
    yield Change(path, old, new)


def _redacted(change: Change) -> Change:
    """That something of a Secret has changed is said, and never what it is."""
    if change.path == "":
        return Change("", _without_values(change.old), _without_values(change.new))
    if change.path.split("/")[1] in ("data", "stringData"):
        return Change(change.path, _hidden(change.old), _hidden(change.new))
    return change


def _without_values(obj: Any) -> Any:
    if not isinstance(obj, Mapping):
        return obj
    return {key: _hidden(value) if key in ("data", "stringData") else value for key, value in obj.items()}


def _hidden(value: Any) -> Any:
    if value is msgspec.UNSET:
        return value
    if isinstance(value, Mapping):
        return dict.fromkeys(value, REDACTED)
    return REDACTED
