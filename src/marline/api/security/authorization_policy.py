"""AuthorizationPolicy: who may call what (istio.io reference; "Authorization Policy Conditions").

A request is refused if a DENY policy matches it; else it passes if no ALLOW policy is for the workload, or
one of them matches it.
"""

from typing import Final, Literal

from marline.api import rules
from marline.api.faults import Faults
from marline.api.model import Model, PolicyTargetReference, Selector
from marline.api.refusals import Refusals
from marline.api.resource import Resource
from marline.api.security.authorization_rule import Rule
from marline.api.security.authorization_rules import validate_rule
from marline.api.security.recorded import validate_recorded


class ExtensionProvider(Model, frozen=True):
    name: str = ""


class AuthorizationPolicySpec(Model, frozen=True):
    selector: Selector | None = None
    """None, and no targets: all workloads of the namespace; of the root namespace: of the mesh."""
    target_ref: PolicyTargetReference | None = None
    target_refs: tuple[PolicyTargetReference, ...] = ()
    rules: tuple[Rule, ...] = ()
    """With none an ALLOW policy matches nothing, and so refuses all."""
    action: Literal["ALLOW", "DENY", "AUDIT", "CUSTOM"] = "ALLOW"
    provider: ExtensionProvider | None = None

    @property
    def targets(self) -> tuple[PolicyTargetReference, ...]:
        """`targetRef` is the older form of one `targetRefs`."""
        return (self.target_ref,) if self.target_ref is not None else self.target_refs


DRY_RUN: Final = "istio.io/dry-run"
"""The annotation of policies that are tried: evaluated, counted, and without effect (istio.io, "Dry Run")."""
_TRUE: Final = ("1", "t", "T", "true", "TRUE", "True")
_FALSE: Final = ("0", "f", "F", "false", "FALSE", "False")

REFUSED: Final[Refusals] = {
    "targetRef.namespace": "a target is in the namespace of its AuthorizationPolicy",
    "targetRefs[].namespace": "a target is in the namespace of its AuthorizationPolicy",
}


def validate(resource: Resource[AuthorizationPolicySpec], faults: Faults) -> None:
    """Istio's rules for an AuthorizationPolicy."""
    spec = resource.spec
    given = [item for item in (spec.selector, spec.target_ref, spec.target_refs) if item]
    if len(given) > 1:
        faults.add("expected at most one of selector, targetRef and targetRefs")
    if spec.selector is not None:
        rules.labels(spec.selector.match_labels, faults.at("selector").at("matchLabels"))
    rules.gateway_targets(spec.target_refs, faults.at("targetRefs"))
    if spec.target_ref is not None:
        rules.gateway_target(spec.target_ref, faults.at("targetRef"))
    if (spec.action == "CUSTOM") != (spec.provider is not None):
        faults.at("provider").add("is required with action CUSTOM, and only then")
    if spec.provider is not None:
        faults.at("provider").required(spec.provider.name, "name")
    annotations = Faults("metadata", faults.errors).at("annotations")
    _validate_trial(resource, annotations.key(DRY_RUN))
    validate_recorded(resource, audits=spec.action == "AUDIT", faults=annotations)
    if spec.action == "DENY" and not spec.rules:
        faults.at("rules").add("is required with action DENY; `rules: [{}]` denies all requests")
    for index, rule in enumerate(spec.rules):
        validate_rule(rule, faults.at("rules").item(index))


def is_tried(resource: Resource[AuthorizationPolicySpec]) -> bool:
    """Is it evaluated without any effect?"""
    return resource.metadata.annotations.get(DRY_RUN, "") in _TRUE


def _validate_trial(resource: Resource[AuthorizationPolicySpec], faults: Faults) -> None:
    value = resource.metadata.annotations.get(DRY_RUN)
    if value is None:
        return
    if value not in (*_TRUE, *_FALSE):
        faults.add(f"{value!r} is neither true nor false")
    elif value in _TRUE and resource.spec.action not in ("ALLOW", "DENY"):
        faults.unsupported(
            f"is not acted on: a policy with action {resource.spec.action} cannot be tried without effect"
        )
