"""TLS to backends as BackendTLSPolicies want it: what a cluster is made of, and what is wrong with a policy.

gateway-api.sigs.k8s.io, `BackendTLSPolicy`. A policy that cannot be followed lets connections fail: they
are never made without the TLS that was asked for.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from marline.api.gateway_api.backend_tls_policy import SYSTEM
from marline.api.gateway_api.gateway import GatewaySpec
from marline.api.resource import Ref, Resource
from marline.compile.gateway_api_backends import is_granted
from marline.compile.gateway_lookup import reference_grants, usable_certificate
from marline.compile.gateway_tls import authority_pem, ca_fault, certificate_name
from marline.mesh.backend_tls import CONFIG_MAP, Policy, client_certificate_ref, policy_for
from marline.mesh.gateways import serving
from marline.mesh.model import Port, Proxy, Role, Service
from marline.mesh.snapshot import MeshSnapshot

_GATEWAY: Final = ("gateway.networking.k8s.io", "Gateway")


@dataclass(frozen=True, slots=True)
class BackendTls:
    """How a cluster secures its connections."""

    sni: str
    names: tuple[str, ...]
    """DNS names and URIs, one of which the server's certificate must have."""
    authorities: str
    """PEM; "" with `system`, else there is nobody whom the client trusts."""
    system: bool
    source: Ref
    client_certificate: str = ""
    """The SDS name of what the client shows; "": nothing."""


class Authorities(NamedTuple):
    """The CA certificates of a policy, and what is wrong with its references: the reason of the
    `ResolvedRefs` condition and a message."""

    pem: str
    reason: str = "ResolvedRefs"
    message: str = ""


def backend_tls(snapshot: MeshSnapshot, proxy: Proxy, service: Service, port: Port) -> BackendTls | None:
    """For connections of a proxy to a service's port; None: as the mesh does otherwise."""
    table = snapshot.rules.backend_tls
    policy = policy_for(table, service, port, snapshot.settings.cluster_domain) if table else None
    if policy is None:
        return None
    validation = policy.spec.validation
    given = [item.hostname if item.type == "Hostname" else item.uri for item in validation.subject_alt_names]
    sound = not policy_fault(policy)
    return BackendTls(
        validation.hostname,
        tuple(name for name in given if name) or (validation.hostname,),
        authorities(snapshot, policy).pem if sound else "",
        sound and validation.well_known_ca_certificates == SYSTEM,
        policy.ref,
        client_certificate(snapshot, proxy),
    )


def policy_fault(policy: Policy) -> str:
    """What of a policy is not supported; "" when nothing is."""
    known = policy.spec.validation.well_known_ca_certificates
    if known and known != SYSTEM:
        return f"validation.wellKnownCACertificates: {known!r} is not known; System is"
    if policy.spec.options:
        return f"options: {next(iter(policy.spec.options))!r} is not known"
    return ""


def authorities(snapshot: MeshSnapshot, policy: Policy) -> Authorities:
    found: list[str] = []
    wrong: tuple[str, str] | None = None
    for item in policy.spec.validation.ca_certificate_refs:
        if (item.group, item.kind) != CONFIG_MAP:
            wrong = wrong or ("InvalidKind", f"a CA in a {item.group}/{item.kind} is not supported")
            continue
        holder = snapshot.resource(Ref(*CONFIG_MAP, policy.namespace, item.name))
        fault = (
            f"there is no ConfigMap {policy.namespace}/{item.name}" if holder is None else ca_fault(holder)
        )
        if fault or holder is None:
            wrong = wrong or ("InvalidCACertificateRef", fault)
        else:
            found.append(authority_pem(holder))
    return Authorities("\n".join(found), *(wrong or ("ResolvedRefs", "")))


def client_certificate(snapshot: MeshSnapshot, proxy: Proxy) -> str:
    """The SDS name of the certificate that a gateway's proxy shows to backends: that of its oldest Gateway
    which has one; "" for none."""
    if proxy.role is not Role.GATEWAY or not snapshot.rules.client_certificates:
        return ""
    for gateway in serving(snapshot, proxy):
        found = client_certificate_ref(gateway)
        if found is not None:
            sound = shown_to_backends(snapshot, gateway)[0]
            return certificate_name(found.namespace, found.name) if sound else ""
    return ""


def shown_to_backends(snapshot: MeshSnapshot, gateway: Resource[GatewaySpec]) -> tuple[bool, str, str]:
    """Is the certificate that a Gateway wants to show to backends there? With the reason of its
    `ResolvedRefs` condition and a message."""
    found = client_certificate_ref(gateway)
    if found is None:
        message = "tls.backend.clientCertificateRef is no reference to a Secret"
        return False, "InvalidClientCertificateRef", message
    source, target = (*_GATEWAY, gateway.namespace), ("", "Secret", found.namespace, found.name)
    shown = f"Secret {found.namespace}/{found.name}"
    if not is_granted(reference_grants(snapshot), source, target):
        return False, "RefNotPermitted", f"no ReferenceGrant allows the reference to {shown}"
    if usable_certificate(snapshot, (found.namespace,), found.name) is None:
        message = f"{shown} does not exist, or holds no usable certificate"
        return False, "InvalidClientCertificateRef", message
    return True, "ResolvedRefs", ""
