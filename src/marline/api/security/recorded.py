"""What the records of an AUDIT policy say, and of how many requests there is one: annotations of the policy.

A record has no header and no parameter but those that are listed; of those listed as redacted it says only
that they were there. So what nobody thought of is in no log.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from marline.api import rules
from marline.api.faults import Faults
from marline.api.resource import Resource

PREFIX: Final = "audit.marline.io/"
SAMPLE: Final = f"{PREFIX}sample"
HEADERS: Final = f"{PREFIX}headers"
REDACTED_HEADERS: Final = f"{PREFIX}redact-headers"
PARAMETERS: Final = f"{PREFIX}parameters"
REDACTED_PARAMETERS: Final = f"{PREFIX}redact-parameters"
ALL: Final = 1_000_000
_KEYS: Final = (SAMPLE, HEADERS, REDACTED_HEADERS, PARAMETERS, REDACTED_PARAMETERS)
_LISTED: Final = 32
_PERCENT: Final = re.compile(r"(?:100|[0-9]{1,2})(?:\.[0-9]{1,4})?")
_PARAMETER: Final = re.compile(r"[A-Za-z0-9_.~-]{1,128}")


@dataclass(frozen=True, slots=True, order=True)
class Recorded:
    """What an AUDIT policy asks for."""

    per_million: int = ALL
    """Of so many requests that match there is a record."""
    headers: tuple[str, ...] = ()
    redacted_headers: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    redacted_parameters: tuple[str, ...] = ()


EVERYTHING: Final = Recorded()
"""A record of each request, without headers and parameters."""


def recorded(resource: Resource[Any]) -> Recorded:
    """What the annotations of a valid policy say."""
    given = resource.metadata.annotations
    share = given.get(SAMPLE, "100").strip()
    return Recorded(
        round(float(share) * ALL / 100),
        tuple(name.lower() for name in _names(given.get(HEADERS, ""))),
        tuple(name.lower() for name in _names(given.get(REDACTED_HEADERS, ""))),
        _names(given.get(PARAMETERS, "")),
        _names(given.get(REDACTED_PARAMETERS, "")),
    )


def validate_recorded(resource: Resource[Any], *, audits: bool, faults: Faults) -> None:
    """`faults`: of the annotations."""
    given = resource.metadata.annotations
    for key in given:
        if key.startswith(PREFIX) and key not in _KEYS:
            faults.key(key).add(f"is not known; expected one of {', '.join(_KEYS)}")
        elif key.startswith(PREFIX) and not audits:
            faults.key(key).unsupported("is not acted on: only a policy with action AUDIT leaves records")
    share = given.get(SAMPLE, "100").strip()
    if not _PERCENT.fullmatch(share) or not 0 < float(share) <= 100:
        faults.key(SAMPLE).add(f"{share!r} is no share; expected per cent above 0, up to 100, such as '10'")
    _validate_names(
        given.get(HEADERS), given.get(REDACTED_HEADERS), (HEADERS, REDACTED_HEADERS), _header, faults
    )
    _validate_names(
        given.get(PARAMETERS), given.get(REDACTED_PARAMETERS), (PARAMETERS, REDACTED_PARAMETERS), _parameter,
        faults,
    )  # fmt: skip


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))


def _validate_names(
    shown: str | None,
    hidden: str | None,
    keys: tuple[str, str],
    check: Callable[[str, Faults], None],
    faults: Faults,
) -> None:
    for key, text in zip(keys, (shown, hidden), strict=True):
        if text is None:
            continue
        names, where = _names(text), faults.key(key)
        if not 0 < len(names) <= _LISTED:
            where.add(f"has {len(names)} names; expected 1 to {_LISTED}, with commas between")
        for name in names:
            check(name, where)
    _validate_disjoint(_names(shown or ""), _names(hidden or ""), faults.key(keys[1]))


def _validate_disjoint(shown: Iterable[str], hidden: Iterable[str], faults: Faults) -> None:
    others = {name.lower() for name in shown}
    for name in hidden:
        if name.lower() in others:
            faults.add(f"{name!r} is also listed as shown; expected it in one of the two")


def _header(name: str, faults: Faults) -> None:
    rules.header_name(name, faults)
    if name.startswith(":") or "%" in name:
        faults.add(f"{name!r} cannot be asked for; records have the path and the rest by themselves")


def _parameter(name: str, faults: Faults) -> None:
    if not _PARAMETER.fullmatch(name):
        faults.add(f"{name!r} cannot be asked for; expected letters, digits and any of '_.~-'")
