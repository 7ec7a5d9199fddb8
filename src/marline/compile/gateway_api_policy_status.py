"""What BackendTLSPolicies are told about themselves, for each of their ancestors.

Conditions and reasons: gateway-api.sigs.k8s.io, `PolicyAncestorStatus`, `BackendTLSPolicyValidation`. The
ancestors are the Gateways whose routes lead to the services; the Service itself where there is none, since
the policy is for its clients in the mesh, too.
"""

from collections.abc import Iterator
from typing import Any, Final

from marline.api.gateway_api.shared import GROUP
from marline.compile.backend_tls import authorities, policy_fault
from marline.compile.gateway_api_attach import Route, parents_of
from marline.compile.gateway_api_conditions import CONTROLLER, Status, Verdict, conditions
from marline.compile.gateway_api_parents import default_gateways, served_parent
from marline.compile.gateway_api_served import ServedGateway, has_route, in_http
from marline.mesh.backend_tls import Policy, is_superseded, policy_hosts, target_host
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.visibility import age

_MAX_ANCESTORS: Final = 16


def policy_status(snapshot: MeshSnapshot, policy: Policy, now: str) -> Status:
    """With the entries of other controllers as they are."""
    present = list(policy.status.get("ancestors", ()))
    made = [item for item in present if item.get("controllerName") != CONTROLLER]
    verdicts = _verdicts(snapshot, policy)
    for ancestor in _ancestors(snapshot, policy):
        known = next(
            (
                item.get("conditions", ())
                for item in present
                if (item.get("controllerName"), item.get("ancestorRef")) == (CONTROLLER, ancestor)
            ),
            (),
        )
        told = conditions(policy, known, verdicts, now)
        made.append({"ancestorRef": ancestor, "controllerName": CONTROLLER, "conditions": told})
    return {"ancestors": made[:_MAX_ANCESTORS]}


def _ancestors(snapshot: MeshSnapshot, policy: Policy) -> Iterator[dict[str, Any]]:
    routes = [
        in_http(route)
        for host in policy_hosts(policy, snapshot.settings.cluster_domain)
        for ref in sorted(snapshot.rules.backing.get(host, ()), key=str)
        if (route := snapshot.resource(ref)) is not None
    ]
    found = {one.gateway.ref: one.gateway for route in routes for one in _gateways_with(snapshot, route)}
    gateways = sorted(found.values(), key=age)
    for gateway in gateways:
        yield {"group": GROUP, "kind": "Gateway", "namespace": gateway.namespace, "name": gateway.name}
    if not gateways:
        for name in dict.fromkeys(item.name for item in policy.spec.target_refs):
            yield {"group": "", "kind": "Service", "namespace": policy.namespace, "name": name}


def _gateways_with(snapshot: MeshSnapshot, route: Route) -> Iterator[ServedGateway]:
    """The Gateways at which a route is."""
    for parent in parents_of(route, default_gateways(snapshot)):
        named = served_parent(snapshot, parent, route.namespace)
        if named is not None and has_route(snapshot, named[0], route):
            yield named[0]


def _verdicts(snapshot: MeshSnapshot, policy: Policy) -> list[Verdict]:
    found = authorities(snapshot, policy)
    resolved = Verdict("ResolvedRefs", found.reason == "ResolvedRefs", found.reason, found.message)
    return [_accepted(snapshot, policy, bool(found.pem)), resolved]


def _accepted(snapshot: MeshSnapshot, policy: Policy, has_authority: bool) -> Verdict:
    fault = policy_fault(policy)
    if fault:
        return Verdict("Accepted", False, "Invalid", fault)
    domain = snapshot.settings.cluster_domain
    for target in policy.spec.target_refs:
        host = target_host(policy, target, domain)
        service = snapshot.services.get(host) if host is not None else None
        section = target.section_name or None
        named = service is not None and (section is None or section in {item.name for item in service.ports})
        if host is None or not named:
            shown = f"{target.kind} {policy.namespace}/{target.name}"
            message = f"there is no {shown}" + (f" with a port {section}" if section else "")
            return Verdict("Accepted", False, "TargetNotFound", message)
        if is_superseded(policy, snapshot.rules.backend_tls.get(host, ()), host, section, domain):
            return Verdict("Accepted", False, "Conflicted", "an older policy is for the same")
    if policy.spec.validation.ca_certificate_refs and not has_authority:
        return Verdict("Accepted", False, "NoValidCACertificate", "no reference leads to a CA certificate")
    return Verdict("Accepted", True, "Accepted", "Connections are made as the policy says")
