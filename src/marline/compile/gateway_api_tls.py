"""How a Gateway's listener terminates TLS, and what is wrong with what it refers to.

Behaviour and reasons: gateway-api.sigs.k8s.io, `ListenerTLSConfig`, `ListenerConditionReason`.
"""

from typing import NamedTuple

from marline.api.gateway_api.gateway import GatewaySpec
from marline.api.gateway_api.shared import GROUP, SecretObjectReference
from marline.api.resource import Resource
from marline.compile.gateway_api_backends import is_granted
from marline.compile.gateway_api_listeners import BoundListener
from marline.compile.gateway_lookup import reference_grants, usable_certificate
from marline.compile.gateway_tls import Termination
from marline.mesh.snapshot import MeshSnapshot


class Certificate(NamedTuple):
    """The SDS name of a certificate; "" with a reason of the `ResolvedRefs` condition and a message."""

    name: str
    reason: str = "ResolvedRefs"
    message: str = ""


def termination_of(
    snapshot: MeshSnapshot, gateway: Resource[GatewaySpec], bound: BoundListener
) -> Termination | None:
    """None when TLS is left alone, or when there is nothing to terminate it with."""
    if bound.passes_through or bound.listener.tls is None:
        return None
    found = (certificate_of(snapshot, bound, item).name for item in bound.listener.tls.certificate_refs)
    names = tuple(name for name in found if name)
    return Termination(names) if names else None


def certificate_of(
    snapshot: MeshSnapshot, bound: BoundListener, reference: SecretObjectReference
) -> Certificate:
    owner = bound.owner
    namespace = owner.namespace if reference.namespace is None else reference.namespace
    shown = f"Secret {namespace}/{reference.name}"
    if (reference.group, reference.kind) != ("", "Secret"):
        return Certificate("", "InvalidCertificateRef", f"{reference.group}/{reference.kind} is no Secret")
    source, target = (GROUP, owner.kind, owner.namespace), ("", "Secret", namespace, reference.name)
    if not is_granted(reference_grants(snapshot), source, target):
        return Certificate("", "RefNotPermitted", f"no ReferenceGrant allows the reference to {shown}")
    name = usable_certificate(snapshot, (namespace,), reference.name)
    if name is None:
        message = f"{shown} does not exist, or holds no usable certificate"
        return Certificate("", "InvalidCertificateRef", message)
    return Certificate(name)
