"""Status conditions: what a resource is told about itself, and since when.

gateway-api.sigs.k8s.io, "Implementer's guide". Pure: the time comes in as text, and a condition keeps its
time of transition while its status lasts.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from marline.api.resource import Ref, Resource
from marline.mesh.gateways import CONTROLLERS

CONTROLLER: Final = CONTROLLERS[0]
NOT_TAKEN: Final = "marline.io/Programmed"
"""Of a route that a proxy rejects, and only then: the specification has no condition for that."""
Status = dict[str, Any]
Known = Sequence[Mapping[str, Any]]
"""Conditions as they are now."""


class Verdict(NamedTuple):
    """What a condition says."""

    type: str
    holds: bool
    reason: str
    message: str = ""


def changed(resource: Resource[Any], status: Status) -> list[tuple[Ref, Status]]:
    """The status with what is new in it, unless nothing is."""
    merged = {**resource.status, **status}
    return [] if merged == dict(resource.status) else [(resource.ref, merged)]


def conditions(resource: Resource[Any], known: Known, verdicts: Iterable[Verdict], now: str) -> list[Status]:
    """Conditions for the resource's generation."""
    present = {item.get("type"): item for item in known}
    made: list[Status] = []
    for verdict in verdicts:
        status = "True" if verdict.holds else "False"
        before = present.get(verdict.type)
        same = before is not None and before.get("status") == status
        made.append(
            {
                "type": verdict.type,
                "status": status,
                "reason": verdict.reason,
                "message": verdict.message,
                "observedGeneration": resource.metadata.generation,
                "lastTransitionTime": before["lastTransitionTime"] if before and same else now,
            }
        )
    return made


def own_conditions(resource: Resource[Any]) -> Known:
    found: Known = resource.status.get("conditions", ())
    return found
