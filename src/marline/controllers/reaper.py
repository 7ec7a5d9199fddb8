"""Removes the registrations of processes that ended without saying goodbye.

A process that Marline started is a `WorkloadEntry`; whoever started it deletes it at the end. When
that one was killed, its proxy's stream ends and does not come back: after a grace period the entry
is removed, as Istio's auto-registration does (istio.io, "Virtual Machine Installation").
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

GRACE_SECONDS: Final = 30.0
"""Long enough for a restart of the control plane or of an Envoy, with back-off."""


class WorkloadName(NamedTuple):
    namespace: str
    name: str


@dataclass(slots=True)
class Reaper:
    """Decides which managed workloads are gone; told the time in seconds, never asks for it."""

    grace: float = GRACE_SECONDS
    _absent_since: dict[WorkloadName, float] = field(default_factory=dict)

    def step(
        self, now: float, managed: Iterable[WorkloadName], connected: Iterable[WorkloadName]
    ) -> tuple[WorkloadName, ...]:
        """The workloads to remove now. Absence counts from when it was first seen, so a control
        plane that has just started gives every proxy the whole grace period to return."""
        absent = set(managed) - set(connected)
        self._absent_since = {name: self._absent_since.get(name, now) for name in absent}
        gone = sorted(name for name, since in self._absent_since.items() if now - since >= self.grace)
        for name in gone:
            # If it cannot be removed now, that is tried again after another grace period.
            del self._absent_since[name]
        return tuple(gone)

    def next_wake(self) -> float | None:
        """When `step` can next have something to say, or None while every workload is connected."""
        return min(self._absent_since.values()) + self.grace if self._absent_since else None
