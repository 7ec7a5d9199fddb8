"""Readiness: when a probe's answers change what is said of a workload, and who runs the probe.

`Threshold` is Kubernetes' logic (core/v1 `Probe`) without I/O; the checks themselves are in `checks.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from marline.node.workload import ProbeSpec

Check = Callable[[], Awaitable[str]]
"""One check: "" or why it failed."""

_STARTING_PERIOD: Final = 0.25
"""Seconds between checks until the first success, if the period is longer: an application that has just
started should not wait ten seconds for its first request."""


@dataclass(slots=True)
class Threshold:
    """Turns single results into readiness: so many successes, or failures, in a row change it."""

    success: int
    failure: int
    ready: bool = False
    _in_a_row: int = 0

    def result(self, succeeded: bool) -> bool:
        """Returns whether readiness changed."""
        if succeeded == self.ready:
            self._in_a_row = 0
            return False
        self._in_a_row += 1
        if self._in_a_row < (self.success if succeeded else self.failure):
            return False
        self.ready, self._in_a_row = succeeded, 0
        return True


def next_check(spec: ProbeSpec, ever_ready: bool) -> float:
    """Seconds until the next check."""
    return spec.period if ever_ready else min(spec.period, _STARTING_PERIOD)


async def watch_readiness(spec: ProbeSpec, check: Check, report: Callable[[bool, str], None]) -> None:
    """Probe for ever. `report` is told each change, and each new reason while not ready."""
    state = Threshold(spec.success_threshold, spec.failure_threshold)
    ever_ready, told = False, ""
    await asyncio.sleep(spec.initial_delay)
    while True:
        reason = await _within(spec.timeout, check)
        changed = state.result(not reason)
        ever_ready = ever_ready or state.ready
        if changed or (not state.ready and reason != told):
            told = reason
            report(state.ready, reason)
        await asyncio.sleep(next_check(spec, ever_ready))


async def once_ready(check: Check, report: Callable[[bool, str], None]) -> None:
    """For a workload without probe: ready from the first success on."""
    told = ""
    while reason := await _within(ProbeSpec().timeout, check):
        if reason != told:
            told = reason
            report(False, reason)
        await asyncio.sleep(_STARTING_PERIOD)
    report(True, "")


async def _within(seconds: float, check: Check) -> str:
    try:
        async with asyncio.timeout(seconds):
            return await check()
    except TimeoutError:
        return f"no answer within {seconds:g} s"
