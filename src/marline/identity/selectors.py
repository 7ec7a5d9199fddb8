"""Selectors: facts about a process by which identities are registered, named as SPIRE's attestors name them
(SPIRE documentation, "Workload attestor unix" and "systemd").

`unix:uid:1000`, `unix:user:ada`, `unix:gid:100`, `unix:group:users`, `unix:supplementary_gid:27`,
`unix:supplementary_group:sudo`, `unix:path:/usr/bin/backup`, `unix:sha256:…`, `systemd:id:backup.service`,
and `cgroup:path:/backup.slice`, which also selects what is below.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from marline.identity.errors import InvalidSelector

SHA256: Final = "unix:sha256"
CGROUP: Final = "cgroup:path"
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,9}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_PATH: Final = re.compile(r"(/[^/\0]+)+")
_NAME: Final = re.compile(r"[^\0\s:/]+")
_UNIT: Final = re.compile(r"[^\0\s/]+\.(service|scope)")


def _all_of(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


_KINDS: Final[dict[str, tuple[Callable[[str], bool], str]]] = {
    "unix:uid": (_all_of(_NUMBER), "a number"),
    "unix:user": (_all_of(_NAME), "a user's name"),
    "unix:gid": (_all_of(_NUMBER), "a number"),
    "unix:group": (_all_of(_NAME), "a group's name"),
    "unix:supplementary_gid": (_all_of(_NUMBER), "a number"),
    "unix:supplementary_group": (_all_of(_NAME), "a group's name"),
    "unix:path": (_all_of(_PATH), "an absolute path"),
    SHA256: (_all_of(_DIGEST), "a SHA-256 checksum of 64 hexadecimal digits in lower case"),
    "systemd:id": (_all_of(_UNIT), "a unit's name, such as backup.service"),
    CGROUP: (_all_of(_PATH), "a path below the root of the cgroup hierarchy"),
}


@dataclass(frozen=True, slots=True, order=True)
class Selector:
    """One fact; made by `parse_selector`."""

    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


def parse_selector(text: str) -> Selector:
    """Raises `InvalidSelector`."""
    kind = ":".join(text.split(":")[:2])
    if kind not in _KINDS:
        raise InvalidSelector(text, f"expected one of {', '.join(f'{name}:…' for name in _KINDS)}")
    value = text[len(kind) + 1 :]
    is_valid, expected = _KINDS[kind]
    if not is_valid(value):
        raise InvalidSelector(text, f"expected {expected} after {kind}:")
    return Selector(kind, value)


def selects(selectors: Collection[Selector], facts: Collection[Selector]) -> bool:
    """Are all of these facts true of a process? Nothing selects nobody."""
    return bool(selectors) and all(_holds(selector, facts) for selector in selectors)


def _holds(selector: Selector, facts: Collection[Selector]) -> bool:
    if selector in facts:
        return True
    below = selector.value + "/"
    return selector.kind == CGROUP and any(
        fact.kind == CGROUP and fact.value.startswith(below) for fact in facts
    )
