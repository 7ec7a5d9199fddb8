"""What nodes say of the identities that they serve, and what they are told: `POST /marline/v1/authority`.

A node asks with the version of the authority that it knows and with what each of its proxies has
acknowledged. It is answered at once if the authority is another by now, else when it changes or a while has
passed; whenever what its proxies have changes, it asks anew. So the control plane knows of every proxy which
certificate and which roots are in use, and nodes know within a moment that they should renew.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

PATH: Final = "/marline/v1/authority"
HOLD_SECONDS: Final = 10.0
"""How long an answer may take when nothing changes."""
_FORGET_AFTER: Final = 3 * HOLD_SECONDS
"""A node that has not asked for so long is gone, or its control plane was."""


class Held(msgspec.Struct, frozen=True, rename="camel"):
    """The identity of one proxy."""

    spiffe_id: str
    authority: str = ""
    """The version that its Envoy has acknowledged; "" while it may have another one."""
    not_before: float = 0.0
    not_after: float = 0.0
    """When its certificate begins and ends, in Unix seconds."""
    failure: str = ""
    """Why it was not renewed the last time."""


class Following(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What a node says."""

    agent: str
    """Tells one process from another."""
    known: str
    proxies: dict[str, Held]
    """By node id."""


class Newest(msgspec.Struct, frozen=True, rename="camel"):
    """What a node is told."""

    authority: str


@dataclass(frozen=True, slots=True)
class _Report:
    at: float
    proxies: Mapping[str, Held]


@dataclass(slots=True)
class Followers:
    """What all nodes have said."""

    _reports: dict[tuple[str, str], _Report] = field(default_factory=dict)

    def report(self, user: str, said: Following, now: float) -> None:
        """A node asks; `user` is who it is for the API."""
        self._reports[user, said.agent] = _Report(now, said.proxies)

    def proxies(self, now: float) -> dict[str, tuple[Held, ...]]:
        """What is said of each proxy, by everybody who speaks of it."""
        found: dict[str, tuple[Held, ...]] = {}
        for who, report in tuple(self._reports.items()):
            if now - report.at > _FORGET_AFTER:
                del self._reports[who]
                continue
            for name, held in report.proxies.items():
                found[name] = (*found.get(name, ()), held)
        return found

    def pending(self, authority: str, connected: Iterable[str], now: float) -> tuple[str, ...]:
        """The proxies that have not acknowledged this version: those that are connected, and those of which
        a node speaks. Who speaks for another's proxy cannot make it less."""
        said = self.proxies(now)
        return tuple(
            sorted(
                name
                for name in {*connected, *said}
                if not said.get(name) or any(held.authority != authority for held in said[name])
            )
        )
