"""The request that is asked about, and the end of what can be told."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from google.protobuf.message import Message


class CannotTell(Exception):
    """Envoy's answer depends on something that the interpreter does not know."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as a proxy receives it."""

    authority: str
    """The Host header, with its port if it has one."""
    method: str = "GET"
    path: str = "/"
    """With its query."""
    scheme: str = "http"
    headers: tuple[tuple[str, str], ...] = ()
    """Names in lower case; a name may be there several times."""
    shows_token: bool = False
    """It has something where the proxy looks for tokens of end users."""

    @property
    def bare_path(self) -> str:
        """The path without its query and fragment."""
        return self.path.partition("?")[0].partition("#")[0]

    def header(self, name: str) -> str | None:
        """All values of a header (or of a pseudo header), joined as Envoy's matchers see them."""
        name = name.lower()
        pseudo = {
            ":method": self.method,
            ":path": self.path,
            ":authority": self.authority,
            "host": self.authority,
            ":scheme": self.scheme,
        }
        if name in pseudo:
            return pseudo[name]
        values = [value for key, value in self.headers if key == name]
        return ",".join(values) if values else None

    def query(self, name: str) -> str | None:
        """The first value of a query parameter, as it is written."""
        _, _, query = self.path.partition("#")[0].partition("?")
        for pair in query.split("&"):
            key, _, value = pair.partition("=")
            if key == name:
                return value
        return None

    def sent_with(self, *, path: str, authority: str) -> "Request":
        """The request as it goes on."""
        return replace(self, path=path, authority=authority)


def only(message: Any, known: Iterable[str], what: str) -> None:
    """Raises `CannotTell` if a field is set that is not one of those known."""
    if not isinstance(message, Message):
        return
    names = frozenset(known)
    strange = [field.name for field, _ in message.ListFields() if field.name not in names]
    if strange:
        raise CannotTell(f"{what} uses {', '.join(strange)}, which cannot be evaluated")


def headers_of(pairs: Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Headers in the form of `Request`."""
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    return tuple((name.lower(), value.strip()) for name, value in items)


def without(message: Any, names: Iterable[str], what: str) -> None:
    """Raises `CannotTell` if one of these fields is set: they change what requests look like or where they
    go, in ways that are not evaluated."""
    used = [name for name in names if _is_set(message, name)]
    if used:
        raise CannotTell(f"{what} uses {', '.join(used)}, which cannot be evaluated")


def _is_set(message: Any, name: str) -> bool:
    return any(field.name == name for field, _ in message.ListFields())
