"""What a record of a request or a connection says: its metadata, as a proxy has written it down. Pure.

A proxy writes a line of JSON where an AUDIT policy matches (`compile.authorization_logs`); here it gets its
place in the chain. There is never a body in it, and no header or parameter but those that the policy lists.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from marline.store.audit.records import REDACTED

_REDACTED_OF: Final = {"headers": "redactedHeaders", "parameters": "redactedParameters"}
_REFUSED_BY: Final = re.compile(r"rbac_access_denied_matched_policy\[(ns\[.*\])\]")
"""What Envoy says of a refusal, with the rule's name."""


class Facts(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """What is known of a request or a connection that an AUDIT policy matched."""

    time: str
    """When it began."""
    kind: str
    """`request` or `connection`."""
    id: str
    """Which no other record has."""
    source: str = ""
    """The caller's identity, as its certificate says; "": it had none."""
    address: str = ""
    destination: str = ""
    """The identity of the workload whose proxy it is."""
    port: int = 0
    method: str = ""
    host: str = ""
    path: str = ""
    status: int = 0
    """0: there was no answer."""
    details: str = ""
    flags: str = ""
    """Envoy's response flags."""
    rule: str = ""
    """Of the AUDIT policy."""
    decided_by: str = ""
    """The rule that let it pass or refused it; "": none did."""
    received: int = 0
    sent: int = 0
    """Bytes of bodies, or of the connection."""
    duration: int = 0
    """Milliseconds."""
    headers: dict[str, str] = {}
    parameters: dict[str, str] = {}


class RequestRecord(Facts, frozen=True, kw_only=True):
    """A line of the log of requests."""

    seq: int
    previous: str
    hash: str = ""


class RequestEntry(Facts, frozen=True, kw_only=True):
    """One that has no place in the chain yet."""

    def record(self, seq: int, time: str, previous: str) -> RequestRecord:
        facts = {name: getattr(self, name) for name in self.__struct_fields__}
        return RequestRecord(**facts, seq=seq, previous=previous)


def written(line: bytes) -> RequestEntry:
    """What a proxy has written. Raises ValueError."""
    found = msgspec.json.decode(line, type=dict[str, Any])
    for name, redacted in _REDACTED_OF.items():
        there = {
            key: REDACTED for key, value in (found.pop(redacted, None) or {}).items() if value is not None
        }
        if there:
            found[name] = {**(found.get(name) or {}), **there}
    entry = msgspec.convert(dict(_known(found)), type=RequestEntry)
    refused = _REFUSED_BY.search(entry.details)
    return msgspec.structs.replace(entry, decided_by=refused[1]) if refused else entry


def _known(found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Without what Envoy says that it does not know."""
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield name, {key: inner for key, inner in value.items() if inner is not None}
        elif value is not None and not (name == "flags" and value == "-"):
            yield name, value
