"""What the records of an AUDIT policy say, and of how many requests there is one: annotations of the policy.

A record has no header and no parameter but those that are listed; of those listed as redacted it says only
that they were there. So what nobody thought of is in no log.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from marline.api.faults import Faults, nearest
from marline.api.resource import Resource

PREFIX: Final = "audit.marline.io/"
SAMPLE: Final = f"{PREFIX}sample"
HEADERS: Final = f"{PREFIX}headers"
REDACTED_HEADERS: Final = f"{PREFIX}redact-headers"
PARAMETERS: Final = f"{PREFIX}parameters"
REDACTED_PARAMETERS: Final = f"{PREFIX}redact-parameters"
ALL: Final = 1_000_000
KEYS: Final = (SAMPLE, HEADERS, REDACTED_HEADERS, PARAMETERS, REDACTED_PARAMETERS)
_LISTED: Final = 32
_PERCENT: Final = re.compile(r"(?:100|[0-9]{1,2})(?:\.[0-9]{1,4})?")
_NAME: Final = re.compile(r"[A-Za-z0-9_.~-]{1,128}")
"""No character among them has a meaning in Envoy's formats."""


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
    """What the annotations of a policy say; what is not valid counts as if it was not there."""
    given = resource.metadata.annotations
    share = given.get(SAMPLE, "").strip()
    return Recorded(
        round(float(share) * ALL / 100) if _is_share(share) else ALL,
        _usable(given.get(HEADERS, "").lower()),
        _usable(given.get(REDACTED_HEADERS, "").lower()),
        _usable(given.get(PARAMETERS, "")),
        _usable(given.get(REDACTED_PARAMETERS, "")),
    )


def validate_recorded(resource: Resource[Any], *, audits: bool, faults: Faults) -> None:
    """`faults`: of the annotations."""
    given = resource.metadata.annotations
    for key in given:
        if key.startswith(PREFIX) and key not in KEYS:
            faults.key(key).add(
                f"is not known; expected one of {', '.join(KEYS)}", suggestion=nearest(key, KEYS)
            )
        elif key.startswith(PREFIX) and not audits:
            faults.key(key).unsupported("is not acted on: only a policy with action AUDIT leaves records")
    if SAMPLE in given and not _is_share(given[SAMPLE].strip()):
        faults.key(SAMPLE).add(f"{given[SAMPLE]!r} is no share; expected per cent above 0, up to 100: '10'")
    for shown, hidden in ((HEADERS, REDACTED_HEADERS), (PARAMETERS, REDACTED_PARAMETERS)):
        for key in (shown, hidden):
            if key in given:
                _validate_names(_names(given[key]), faults.key(key))
        others = {name.lower() for name in _names(given.get(shown, ""))}
        for name in _names(given.get(hidden, "")):
            if name.lower() in others:
                faults.key(hidden).add(f"{name!r} is also in {shown}; expected it in one of the two")


def _validate_names(names: tuple[str, ...], faults: Faults) -> None:
    if not 0 < len(names) <= _LISTED:
        faults.add(f"has {len(names)} names; expected 1 to {_LISTED}, with commas between")
    for name in names:
        if not _NAME.fullmatch(name):
            faults.add(f"{name!r} cannot be asked for; expected letters, digits and any of '_.~-'")


def _is_share(text: str) -> bool:
    return bool(_PERCENT.fullmatch(text)) and 0 < float(text) <= 100


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))


def _usable(text: str) -> tuple[str, ...]:
    return tuple(name for name in _names(text) if _NAME.fullmatch(name))
