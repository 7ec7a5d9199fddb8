"""Requests and connections that AUDIT policies matched: which records are wanted, and their table."""

from dataclasses import dataclass
from typing import Final

from marline.cli.output import Column, bad, good
from marline.store.audit.requests import RequestRecord

_SPIFFE: Final = "spiffe://"


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """Which records are wanted; "": all."""

    source: str = ""
    """An identity: a SPIFFE ID, or `namespace/account`."""
    destination: str = ""
    path: str = ""
    """With a `*` at its end: all that begin so."""
    status: str = ""
    """A number, with `x` for any digit."""
    since: str = ""
    """A time as records have it."""

    def takes(self, record: RequestRecord) -> bool:
        return (
            _is(self.source, record.source)
            and _is(self.destination, record.destination)
            and _begins(self.path, record.path)
            and _is_like(self.status, str(record.status))
            and record.time >= self.since
        )


def _is(wanted: str, identity: str) -> bool:
    if not wanted or wanted.startswith(_SPIFFE):
        return wanted in ("", identity)
    return short(identity) == wanted


def _begins(wanted: str, path: str) -> bool:
    if wanted.endswith("*"):
        return path.startswith(wanted[:-1])
    return wanted in ("", path)


def _is_like(wanted: str, status: str) -> bool:
    if not wanted:
        return True
    return len(wanted) == len(status) and all(
        asked in ("x", digit) for asked, digit in zip(wanted.lower(), status, strict=True)
    )


def short(identity: str) -> str:
    """`namespace/account`, where it is an identity of a mesh."""
    _, _, path = identity.removeprefix(_SPIFFE).partition("/ns/")
    namespace, _, account = path.partition("/sa/")
    return f"{namespace}/{account}" if account else identity


def _what(record: RequestRecord) -> str:
    if record.kind == "connection":
        return f"connection to port {record.port}"
    return f"{record.method} {record.host}{record.path}"


def _status(record: RequestRecord) -> str:
    if record.kind == "connection":
        return "-" if not record.details else bad("closed")
    return good(str(record.status)) if 200 <= record.status < 400 else bad(str(record.status))


COLUMNS: Final = (
    Column[RequestRecord]("TIME", lambda item: item.time[:19] + "Z"),
    Column[RequestRecord]("SOURCE", lambda item: short(item.source) or item.address),
    Column[RequestRecord]("DESTINATION", lambda item: short(item.destination)),
    Column[RequestRecord]("WHAT", _what),
    Column[RequestRecord]("STATUS", _status),
    Column[RequestRecord]("DECIDED BY", lambda item: item.decided_by or item.details),
)
