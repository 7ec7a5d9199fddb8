"""Marline's own policies by what they are attached to, and which of several counts.

gateway-api.sigs.k8s.io, GEP-713: the oldest policy for a target counts, then the first by name; one for a
section of a target counts there before one for the whole.
"""

from collections.abc import Iterable
from typing import Any, Final

from marline.api.policy.targets import GROUP, LocalPolicyTargetReference
from marline.api.resource import Ref, Resource

RATE_LIMIT: Final = (GROUP, "RateLimitPolicy")
RESILIENCE: Final = (GROUP, "ResiliencePolicy")
TARGETS_OF_ROUTES: Final = frozenset({"Gateway", "HTTPRoute", "GRPCRoute", "VirtualService"})
"""Kinds that gateways read."""


def target_of(policy: Resource[Any], reference: LocalPolicyTargetReference) -> Ref:
    """What a reference names: it is in the policy's namespace."""
    return Ref(reference.group, reference.kind, policy.namespace, reference.name)


def targets_of(policy: Resource[Any]) -> tuple[Ref, ...]:
    """All that a policy is attached to, each once."""
    return tuple(dict.fromkeys(target_of(policy, reference) for reference in policy.spec.target_refs))


def attached_policy(
    attached: Iterable[Resource[Any]], kind: tuple[str, str], target: Ref, section: str | None
) -> Resource[Any] | None:
    """The policy of a kind that counts for exactly this section of a target (None: for the whole).
    `attached` are those attached to the target, oldest first."""
    for policy in attached:
        if (policy.group, policy.kind) != kind:
            continue
        for reference in policy.spec.target_refs:
            if reference.section_name == section and target_of(policy, reference) == target:
                return policy
    return None
