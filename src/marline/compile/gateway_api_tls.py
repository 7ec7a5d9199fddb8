"""How a Gateway's listener terminates TLS, and what is wrong with what it refers to.

Behaviour and reasons: gateway-api.sigs.k8s.io, `ListenerTLSConfig`, `ListenerConditionReason`.
"""

from typing import Final, NamedTuple

from marline.api.gateway_api.gateway import FrontendTLSValidation, GatewaySpec
from marline.api.gateway_api.shared import GROUP, SecretObjectReference
from marline.api.resource import Ref, Resource
from marline.compile.gateway_api_backends import is_granted
from marline.compile.gateway_api_listeners import BoundListener
from marline.compile.gateway_lookup import reference_grants, usable_certificate
from marline.compile.gateway_tls import Termination, ca_fault, config_map_ca_name
from marline.mesh.backend_tls import CONFIG_MAP
from marline.mesh.snapshot import MeshSnapshot

INSECURE: Final = "AllowInsecureFallback"


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
    validation = frontend_validation(gateway, bound)
    if validation is None:
        return Termination(names) if names else None
    authority = authority_of(snapshot, gateway, validation)
    if not names or not authority.name:
        return None
    return Termination(names, authority.name, client_may_be_anybody=validation.mode == INSECURE)


def frontend_validation(gateway: Resource[GatewaySpec], bound: BoundListener) -> FrontendTLSValidation | None:
    """How clients of a listener for HTTPS are verified; None: they are not asked for a certificate."""
    tls = gateway.spec.tls
    if tls is None or tls.frontend is None or bound.listener.protocol != "HTTPS":
        return None
    own = (item.tls for item in tls.frontend.per_port if item.port == bound.listener.port)
    return next(own, tls.frontend.default).validation


def authority_of(
    snapshot: MeshSnapshot, gateway: Resource[GatewaySpec], validation: FrontendTLSValidation
) -> Certificate:
    """Who vouches for clients: CA certificates in a ConfigMap. Several references are not supported."""
    reference = validation.ca_certificate_refs[0]
    namespace = gateway.namespace if reference.namespace is None else reference.namespace
    if (reference.group, reference.kind) != CONFIG_MAP:
        message = f"a CA in a {reference.group}/{reference.kind} is not supported"
        return Certificate("", "InvalidCACertificateKind", message)
    source, target = (GROUP, "Gateway", gateway.namespace), (*CONFIG_MAP, namespace, reference.name)
    shown = f"ConfigMap {namespace}/{reference.name}"
    if not is_granted(reference_grants(snapshot), source, target):
        return Certificate("", "RefNotPermitted", f"no ReferenceGrant allows the reference to {shown}")
    holder = snapshot.resource(Ref(*CONFIG_MAP, namespace, reference.name))
    fault = f"there is no {shown}" if holder is None else ca_fault(holder)
    if fault:
        return Certificate("", "InvalidCACertificateRef", fault)
    return Certificate(config_map_ca_name(namespace, reference.name))


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
