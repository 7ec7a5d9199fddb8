"""BackendTLSPolicies by the services that they are about, and which of several counts.

gateway-api.sigs.k8s.io, `BackendTLSPolicySpec.targetRefs`: a policy for one port counts before one for the
whole Service; of several for the same the oldest. As in Istio a policy is for all clients of the Service,
gateways and sidecars.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from marline.api.gateway_api.backend_tls_policy import BackendTLSPolicySpec, PolicyTargetReference
from marline.api.gateway_api.gateway import GatewaySpec
from marline.api.resource import Ref, Resource
from marline.mesh.model import Port, Service

Policy = Resource[BackendTLSPolicySpec]
BACKEND_TLS: Final = ("gateway.networking.k8s.io", "BackendTLSPolicy")
CONFIG_MAP: Final = ("", "ConfigMap")
_SERVICE: Final = ("", "Service")


def target_host(policy: Policy, target: PolicyTargetReference, cluster_domain: str) -> str | None:
    """The hostname of a target; None when it is no Service."""
    if (target.group, target.kind) != _SERVICE:
        return None
    return f"{target.name}.{policy.namespace}.svc.{cluster_domain}"


def policy_hosts(policy: Policy, cluster_domain: str) -> list[str]:
    """The services that a policy is about, each once."""
    found = (target_host(policy, item, cluster_domain) for item in policy.spec.target_refs)
    return list(dict.fromkeys(host for host in found if host is not None))


def authority_refs(policy: Policy) -> Iterator[Ref]:
    """The ConfigMaps that a policy refers to, which need not be there."""
    for item in policy.spec.validation.ca_certificate_refs:
        if (item.group, item.kind) == CONFIG_MAP:
            yield Ref(*CONFIG_MAP, policy.namespace, item.name)


def client_certificate_ref(gateway: Resource[GatewaySpec]) -> Ref | None:
    """The Secret that a Gateway shows to backends."""
    tls = gateway.spec.tls
    found = tls.backend.client_certificate_ref if tls is not None and tls.backend is not None else None
    if found is None or (found.group, found.kind) != ("", "Secret"):
        return None
    return Ref("", "Secret", gateway.namespace if found.namespace is None else found.namespace, found.name)


def policy_for(
    table: Mapping[str, tuple[Policy, ...]], service: Service, port: Port, cluster_domain: str
) -> Policy | None:
    """The policy for connections to a service's port; `table` has the oldest first."""
    if service.source.kind != "Service":
        return None
    policies = table.get(service.hostname, ())
    for section in (port.name, None):
        for policy in policies:
            if section in sections(policy, service.hostname, cluster_domain):
                return policy
    return None


def sections(policy: Policy, hostname: str, cluster_domain: str) -> list[str | None]:
    """The ports of a service that a policy names; None for the whole service."""
    return [
        item.section_name or None
        for item in policy.spec.target_refs
        if target_host(policy, item, cluster_domain) == hostname
    ]


def is_superseded(
    policy: Policy, policies: Iterable[Policy], hostname: str, section: str | None, cluster_domain: str
) -> bool:
    """Is there an older policy for the same?"""
    for other in policies:
        if other.ref == policy.ref:
            return False
        if section in sections(other, hostname, cluster_domain):
            return True
    return False
