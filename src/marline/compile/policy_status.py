"""What policies are told about what they are attached to: `status.ancestors`, one for each target.

Conditions and reasons: gateway-api.sigs.k8s.io, GEP-713 (`PolicyStatus`, `PolicyConditionReason`). Pure,
and for one policy at a time, since a change touches only the policies of what has changed.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from marline.api.policy.resilience import ResiliencePolicySpec, acts_inbound
from marline.api.policy.targets import LocalPolicyTargetReference
from marline.api.resource import Ref, Resource
from marline.compile.gateway_api_conditions import CONTROLLER, Status, Verdict, conditions
from marline.compile.routes import carries_http
from marline.mesh.delegation import is_delegate
from marline.mesh.model import Service
from marline.mesh.policies import attached_policy, target_of
from marline.mesh.rules import speaks_for_gateways
from marline.mesh.snapshot import MeshSnapshot

_SERVICES: Final = ("Service", "ServiceEntry")


def policy_status(snapshot: MeshSnapshot, policy: Resource[Any], now: str) -> Status | None:
    """What is to be merged into a policy's status, or None if it says so already. `now` is the RFC 3339 time
    of conditions that change."""
    present = policy.status.get("ancestors", ())
    others = [item for item in present if item.get("controllerName") != CONTROLLER]
    own = [item for item in present if item.get("controllerName") == CONTROLLER]
    made = []
    for reference in policy.spec.target_refs:
        ancestor = _ancestor(policy, reference)
        before: Status = next((item for item in own if item.get("ancestorRef") == ancestor), {})
        verdict = _verdict(snapshot, policy, reference)
        made.append(
            {
                "ancestorRef": ancestor,
                "controllerName": CONTROLLER,
                "conditions": conditions(policy, before.get("conditions", ()), [verdict], now),
            }
        )
    return None if [*others, *made] == list(present) else {"ancestors": [*others, *made]}


def _ancestor(policy: Resource[Any], reference: LocalPolicyTargetReference) -> Status:
    named = {"group": reference.group, "kind": reference.kind, "namespace": policy.namespace}
    section = {} if reference.section_name is None else {"sectionName": reference.section_name}
    return {**named, "name": reference.name, **section}


def _verdict(snapshot: MeshSnapshot, policy: Resource[Any], reference: LocalPolicyTargetReference) -> Verdict:
    target = target_of(policy, reference)
    resource = snapshot.resource(target)
    if resource is None:
        return Verdict("Accepted", False, "TargetNotFound", f"there is no {target}")
    section = reference.section_name
    if section is not None and section not in _sections(resource):
        known = ", ".join(_sections(resource)) or "none"
        message = f"{target} has no section {section!r}; it has {known}"
        return Verdict("Accepted", False, "TargetNotFound", message)
    kind = (policy.group, policy.kind)
    counts = attached_policy(snapshot.rules.policies.get(target, ()), kind, target, section)
    if counts is not None and counts.ref != policy.ref:
        return Verdict("Accepted", False, "Conflicted", f"{counts.ref} is older and attached to the same")
    fault = _service_fault(snapshot, policy, reference, target) if target.kind in _SERVICES else ""
    if not fault and not _is_at_gateways(resource):
        fault = "it is for sidecars only; limits act at gateways and at services: attach it to the Service"
    if fault:
        return Verdict("Accepted", False, "Invalid", fault)
    return Verdict("Accepted", True, "Accepted", "The policy is in force")


def _is_at_gateways(resource: Resource[Any]) -> bool:
    """Is a route not for the mesh alone?"""
    if resource.kind == "VirtualService":
        return is_delegate(resource) or speaks_for_gateways(resource)
    if resource.kind in ("HTTPRoute", "GRPCRoute"):
        return any(parent.kind != "Service" for parent in resource.spec.parent_refs)
    return True


def _sections(resource: Resource[Any]) -> list[str]:
    """The names that a `sectionName` may have."""
    spec = resource.spec
    if resource.kind in _SERVICES:
        return [port.name for port in spec.ports]
    if resource.kind == "VirtualService":
        return [rule.name for rule in spec.http if rule.name]
    if resource.kind != "Gateway":
        return [rule.name for rule in spec.rules if rule.name]
    if resource.group == "networking.istio.io":
        return [server.name or server.port.name for server in spec.servers]
    return [listener.name for listener in spec.listeners]


def _service_fault(
    snapshot: MeshSnapshot, policy: Resource[Any], reference: LocalPolicyTargetReference, target: Ref
) -> str:
    """Why a policy can do nothing for a service, or ""."""
    services = snapshot.registry.sources.get(target, ())
    ports = [port for port in _ports(services) if reference.section_name in (None, port.name)]
    if not any(carries_http(port) for port in ports):
        return "none of its ports carries HTTP, which is all that policies act on"
    inbound = not isinstance(policy.spec, ResiliencePolicySpec) or acts_inbound(policy.spec)
    if inbound and not any(service.selector for service in services):
        return "it selects no workloads of the mesh, at whose proxies the policy would act"
    return ""


def _ports(services: Sequence[Service]) -> Iterable[Any]:
    return (port for service in services for port in service.ports)
