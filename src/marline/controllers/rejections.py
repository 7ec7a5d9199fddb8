"""What Envoys rejected, written to the status of the resources at fault.

A rejection (NACK) names Envoy resources; the compiler said which user's resources they came from. For
each of those the condition `Programmed` becomes False with Envoy's own words, and True again when
no proxy rejects it any more.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from marline.api.resource import Ref

CONDITION: Final = "Programmed"
REJECTED: Final = "RejectedByProxy"
ACCEPTED: Final = "Programmed"
BOOTSTRAP: Final = "bootstrap"
"""What is rejected when a proxy starts, before there is a stream; the name and the type of it."""
MAX_MESSAGE: Final = 1024


@dataclass(frozen=True, slots=True)
class Rejection:
    """One proxy refuses one Envoy resource."""

    node_id: str
    type_url: str
    name: str
    message: str


@dataclass(slots=True)
class Rejections:
    """Which resources are at fault at present; fed with NACKs and their ends, yields changed ones."""

    _at_fault: dict[Ref, dict[tuple[str, str, str], Rejection]] = field(default_factory=dict)

    def rejected(self, rejection: Rejection, sources: Iterable[Ref]) -> frozenset[Ref]:
        """Returns the resources whose condition is to be written."""
        key = (rejection.node_id, rejection.type_url, rejection.name)
        changed = set()
        for ref in sources:
            standing = self._at_fault.setdefault(ref, {})
            if standing.get(key) != rejection:
                standing[key] = rejection
                changed.add(ref)
        return frozenset(changed)

    def accepted(self, node_id: str, type_url: str, names: Iterable[str]) -> frozenset[Ref]:
        """The proxy took (or no longer has) these Envoy resources."""
        taken = {(node_id, type_url, name) for name in names}
        return self._end(lambda key: key in taken)

    def gone(self, node_id: str) -> frozenset[Ref]:
        """The proxy disconnected; it says nothing any more."""
        return self._end(lambda key: key[0] == node_id)

    def _end(self, ended: Any) -> frozenset[Ref]:
        changed = set()
        for ref, standing in list(self._at_fault.items()):
            for key in [key for key in standing if ended(key)]:
                del standing[key]
                changed.add(ref)
            if not standing:
                del self._at_fault[ref]
        return frozenset(changed)

    def condition(self, ref: Ref) -> dict[str, Any]:
        """The condition to write, without its time of transition."""
        message = self.message(ref)
        if not message:
            return {"type": CONDITION, "status": "True", "reason": ACCEPTED, "message": ""}
        return {"type": CONDITION, "status": "False", "reason": REJECTED, "message": message}

    def message(self, ref: Ref) -> str:
        """Who rejects what of this resource, and why; "" if nobody does."""
        standing = self._at_fault.get(ref)
        if not standing:
            return ""
        first = min(standing.values(), key=lambda rejection: (rejection.node_id, rejection.name))
        proxies = len({rejection.node_id for rejection in standing.values()})
        who = f"{first.node_id} rejected" if proxies == 1 else f"{proxies} proxies rejected"
        message = f"{who} {first.name}, the last good configuration stays: {first.message}"
        return message[:MAX_MESSAGE]


def with_condition(
    status: dict[str, Any], condition: dict[str, Any], now: str, *, always: bool = False
) -> dict[str, Any] | None:
    """The status with this condition set, or None if it says so already. `now` is RFC 3339. A condition that
    is True and was never anything else is left out, unless it is `always` told."""
    conditions = [dict(item) for item in status.get("conditions", [])]
    current = next((item for item in conditions if item.get("type") == condition["type"]), None)
    if current is None:
        if condition["status"] == "True" and not always:
            return None
        conditions.append({**condition, "lastTransitionTime": now})
    else:
        if all(current.get(key) == value for key, value in condition.items()):
            return None
        moved = current.get("status") != condition["status"]
        current.update(condition)
        if moved:
            current["lastTransitionTime"] = now
    return {"conditions": conditions}
