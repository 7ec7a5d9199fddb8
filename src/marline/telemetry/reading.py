"""Asking proxies for their statistics: all at once, and what one of them cannot answer is said beside."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from marline.telemetry.prometheus import MalformedMetrics, Metrics, parse

PREFIX: Final = "envoy_istio_"
PATH: Final = "/stats/prometheus?usedonly&filter=^istio\\."
"""Of an admin interface: the standard metrics and nothing else, which is one per cent of the whole."""

Ask = Callable[[str], Awaitable[str]]
"""Path → body, of one proxy's admin interface. Raises `Unreadable`."""


class Unreadable(Exception):
    """A proxy does not answer; the message says why."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The statistics of all proxies at one time."""

    at: float
    """Seconds of a monotonic clock."""
    proxies: Mapping[str, Metrics] = field(default_factory=dict)
    """By a key that is another one after an Envoy was started again, with its counters at zero."""
    unreadable: Mapping[str, str] = field(default_factory=dict)


async def read(proxies: Mapping[str, Ask], clock: Callable[[], float]) -> Reading:
    """Ask every proxy; nobody waits for another."""
    at = clock()
    answers = await asyncio.gather(*(_one(ask) for ask in proxies.values()))
    found: dict[str, Metrics] = {}
    failed: dict[str, str] = {}
    for key, answer in zip(proxies, answers, strict=True):
        if isinstance(answer, Metrics):
            found[key] = answer
        else:
            failed[key] = answer
    return Reading(at, found, failed)


async def _one(ask: Ask) -> Metrics | str:
    try:
        return parse(await ask(PATH), PREFIX)
    except (Unreadable, MalformedMetrics) as error:
        return str(error)
