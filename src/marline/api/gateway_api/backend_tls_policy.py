"""BackendTLSPolicy: how connections to a Service are secured (gateway-api.sigs.k8s.io, v1)."""

import re
from typing import Final, Literal

from msgspec import field

from marline.api.errors import Fault
from marline.api.faults import Faults
from marline.api.gateway_api.route_rules import hostname, limited
from marline.api.gateway_api.shared import LocalObjectReference
from marline.api.model import Model
from marline.api.resource import Resource


class PolicyTargetReference(Model, frozen=True):
    """`sectionName` is the name of one of the Service's ports."""

    group: str
    kind: str
    name: str
    section_name: str | None = None


class SubjectAltName(Model, frozen=True):
    type: Literal["Hostname", "URI"]
    hostname: str | None = None
    uri: str | None = None


class BackendTLSPolicyValidation(Model, frozen=True):
    hostname: str
    ca_certificate_refs: tuple[LocalObjectReference, ...] = ()
    well_known_ca_certificates: str | None = field(default=None, name="wellKnownCACertificates")
    subject_alt_names: tuple[SubjectAltName, ...] = ()


class BackendTLSPolicySpec(Model, frozen=True):
    target_refs: tuple[PolicyTargetReference, ...]
    validation: BackendTLSPolicyValidation
    options: dict[str, str] = {}


SYSTEM: Final = "System"
_MAX_TARGETS: Final = 16
_MAX_CAS: Final = 8
_MAX_NAMES: Final = 5
_WELL_KNOWN: Final = re.compile(
    r"System|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
    r"/([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]"
)
_URI: Final = re.compile(r"[^:/?#]+:(//[^/?#]*)[^?#]*(\?[^#]*)?(#.*)?")


def validate(resource: Resource[BackendTLSPolicySpec], faults: Faults) -> None:
    """The schema's and the CEL rules of BackendTLSPolicy's CRD."""
    where = faults.at("targetRefs")
    if not resource.spec.target_refs:
        where.add("is required: at least one", Fault.REQUIRED)
    limited(resource.spec.target_refs, _MAX_TARGETS, where)
    for index, target in enumerate(resource.spec.target_refs):
        _target(target, resource.spec.target_refs[:index], where.item(index))
    limited(tuple(resource.spec.options), 16, faults.at("options"))
    _validation(resource.spec.validation, faults.at("validation"))


def _target(
    target: PolicyTargetReference, earlier: tuple[PolicyTargetReference, ...], faults: Faults
) -> None:
    faults.required(target.name, "name")
    for other in earlier:
        if (other.group, other.kind, other.name) != (target.group, target.kind, target.name):
            continue
        if bool(other.section_name) != bool(target.section_name):
            faults.add("names a target again; each of them then needs a sectionName")
        elif (other.section_name or "") == (target.section_name or ""):
            faults.add("is there twice: the same target and sectionName")


def _validation(validation: BackendTLSPolicyValidation, faults: Faults) -> None:
    hostname(validation.hostname, faults.at("hostname"), wildcard=False)
    well_known, references = validation.well_known_ca_certificates, validation.ca_certificate_refs
    limited(references, _MAX_CAS, faults.at("caCertificateRefs"))
    if bool(well_known) == bool(references):
        found = "both" if references else "neither"
        faults.add(f"expected either caCertificateRefs or wellKnownCACertificates, found {found}")
    if well_known and not _WELL_KNOWN.fullmatch(well_known):
        faults.at("wellKnownCACertificates").add(f"{well_known!r} is not System and not DOMAIN/NAME")
    for index, reference in enumerate(references):
        faults.at("caCertificateRefs").item(index).required(reference.name, "name")
    limited(validation.subject_alt_names, _MAX_NAMES, faults.at("subjectAltNames"))
    for index, name in enumerate(validation.subject_alt_names):
        _subject_alt_name(name, faults.at("subjectAltNames").item(index))


def _subject_alt_name(name: SubjectAltName, faults: Faults) -> None:
    if name.type == "Hostname":
        if faults.required(name.hostname, "hostname") and name.hostname:
            hostname(name.hostname, faults.at("hostname"))
        faults.at("uri").require(not name.uri, "has no effect with type Hostname")
        return
    if faults.required(name.uri, "uri") and name.uri and not _URI.fullmatch(name.uri):
        faults.at("uri").add(f"{name.uri!r} is not an absolute URI, such as spiffe://cluster.local/ns/a/sa/b")
    faults.at("hostname").require(not name.hostname, "has no effect with type URI")
