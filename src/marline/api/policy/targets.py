"""What a policy is attached to, in the manner of Gateway API policy attachment.

gateway-api.sigs.k8s.io, GEP-713 ("Metaresources and Policy Attachment") and GEP-2648 ("Direct Policy
Attachment"): a target is in the policy's own namespace; of several policies for one target the oldest
counts, then the first by name; a policy for a section of a target counts there before one for all of it.
"""

from collections.abc import Mapping
from typing import Final

from marline.api import rules
from marline.api.faults import Faults, nearest
from marline.api.model import Model

GROUP: Final = "policy.marline.io"
_MAX_TARGETS: Final = 16
"""As many ancestors as a status may speak of (GEP-713, `PolicyStatus`)."""

TargetKinds = Mapping[tuple[str, str], str]
"""Group and kind of what a policy can be attached to, with what a `sectionName` of it names."""
SERVICES: Final[TargetKinds] = {("", "Service"): "port", ("networking.istio.io", "ServiceEntry"): "port"}
ROUTES: Final[TargetKinds] = {
    ("gateway.networking.k8s.io", "Gateway"): "listener",
    ("gateway.networking.k8s.io", "HTTPRoute"): "rule",
    ("gateway.networking.k8s.io", "GRPCRoute"): "rule",
    ("networking.istio.io", "Gateway"): "server",
    ("networking.istio.io", "VirtualService"): "rule",
}


class LocalPolicyTargetReference(Model, frozen=True):
    """One target, or a section of it: a port of a service, a listener of a gateway, a rule of a route."""

    kind: str
    name: str
    group: str = ""
    section_name: str | None = None


def validate_targets(
    targets: tuple[LocalPolicyTargetReference, ...], kinds: TargetKinds, faults: Faults
) -> None:
    """Is a policy attached to something that it can act on?"""
    if not 1 <= len(targets) <= _MAX_TARGETS:
        faults.add(f"has {len(targets)} targets; expected 1 to {_MAX_TARGETS}")
    seen: set[LocalPolicyTargetReference] = set()
    for index, target in enumerate(targets):
        where = faults.item(index)
        if target in seen:
            where.add("is there twice")
        seen.add(target)
        _validate_kind(target, kinds, where)
        if where.required(target.name, "name"):
            rules.dns_subdomain(target.name, where.at("name"))
        if target.section_name is not None:
            where.required(target.section_name, "sectionName")


def _validate_kind(target: LocalPolicyTargetReference, kinds: TargetKinds, faults: Faults) -> None:
    if (target.group, target.kind) in kinds:
        return
    groups = [group for group, kind in kinds if kind == target.kind]
    if groups:
        expected = " or ".join(repr(group) for group in groups)
        faults.at("group").add(f"{target.group!r} has no {target.kind} to attach to; expected {expected}")
        return
    known = sorted({kind for _, kind in kinds})
    faults.at("kind").add(
        f"{target.kind!r} cannot be a target; expected one of {', '.join(known)}",
        suggestion=nearest(target.kind, known),
    )
