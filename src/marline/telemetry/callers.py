"""Who has called which service, by identities that servers' proxies have verified."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from marline.telemetry.counts import Counted

_REFUSED: Final = (401, 403)
"""Whoever gets nothing but these has no business there."""


@dataclass(slots=True)
class Callers:
    """Those of one service, of requests or of other connections."""

    identities: dict[str, float] = field(default_factory=dict)
    """SPIFFE IDs, and how often they called."""
    nameless: float = 0.0
    """Calls in plain text, which prove no identity."""


def callers(series: Iterable[Counted], *, recent: bool) -> dict[tuple[str, bool], Callers]:
    """By the service's host, and whether these are connections that are not HTTP. `recent`: of the time
    between two readings only."""
    found: dict[tuple[str, bool], Callers] = {}
    for item in series:
        tags, counts = item.tags, item.recent if recent else item.all
        if tags.from_source or counts is None or tags.response_code in _REFUSED:
            continue
        calls = counts.connections if tags.tcp else counts.requests
        if not calls or not tags.destination_service:
            continue
        known = found.setdefault((tags.destination_service, tags.tcp), Callers())
        if tags.mutual_tls and tags.source_principal:
            known.identities[tags.source_principal] = known.identities.get(tags.source_principal, 0.0) + calls
        else:
            known.nameless += calls
    return found
