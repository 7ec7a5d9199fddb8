"""ClusterRoles that are the sum of others, by label (kubernetes.io, "Aggregated ClusterRoles").

Kubernetes has a control loop for it; here the sum is written in the transaction that changes a part.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from marline.api.rbac import GROUP, LabelSelector
from marline.api.resource import Ref
from marline.store.embedded.index import Stored
from marline.store.embedded.state import State, Transaction

CLUSTER_ROLE: Final = (GROUP, "ClusterRole")


def aggregate(state: State, transaction: Transaction, changed: Ref) -> None:
    """Bring the sums up to date after a change of this object."""
    if changed[:2] != CLUSTER_ROLE:
        return
    roles = state.head.of_kind(*CLUSTER_ROLE)
    for stored in roles:
        if _selectors(stored) and not stored.deleting:
            rules = total(stored, roles)
            if rules != stored.obj.get("rules"):
                generation = int(stored.metadata.get("generation", 0)) + 1
                metadata = {**stored.metadata, "generation": generation}
                state.put(transaction, stored.ref, {**stored.obj, "metadata": metadata, "rules": rules})


def total(role: Stored, roles: Sequence[Stored]) -> list[Any]:
    """The rules of the roles that one is the sum of, each once. Parts may be sums themselves, of one another
    even: only rules that are written in a role that is no sum count."""
    found: list[Any] = []
    seen, to_visit = {role.ref}, [role]
    while to_visit:
        current = to_visit.pop(0)
        selectors = _selectors(current)
        if not selectors:
            found += [rule for rule in current.obj.get("rules") or () if rule not in found]
            continue
        for part in roles:
            if part.ref not in seen and any(selects(item, part.labels) for item in selectors):
                seen.add(part.ref)
                to_visit.append(part)
    return found


def _selectors(stored: Stored) -> tuple[LabelSelector, ...]:
    aggregation = stored.resource.spec.aggregation_rule
    return aggregation.cluster_role_selectors if aggregation else ()


def selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in selector.match_labels.items()):
        return False
    for term in selector.match_expressions:
        match term.operator:
            case "In" if labels.get(term.key) not in term.values:
                return False
            case "NotIn" if labels.get(term.key) in term.values:
                return False
            case "Exists" if term.key not in labels:
                return False
            case "DoesNotExist" if term.key in labels:
                return False
    return True
