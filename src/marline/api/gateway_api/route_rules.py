"""Rules that the kinds of routes share (gateway-api.sigs.k8s.io: the schemas' limits and CEL rules).

What depends on other resources (an unknown Gateway, a missing backend, no grant) is not wrong with a
route: its status says so.
"""

import re
from collections.abc import Sequence
from typing import Final, Protocol

from marline.api import rules
from marline.api.errors import Fault
from marline.api.faults import Faults
from marline.api.gateway_api.shared import (
    BackendObjectReference,
    BackendRef,
    HeaderMatch,
    HTTPHeaderFilter,
    HTTPRequestMirrorFilter,
    ParentReference,
    SessionPersistence,
)

_HOSTNAME: Final = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
MAX_ITEMS: Final = 16
"""Of most lists in routes: rules, hostnames, filters, backends, headers."""
MAX_HEADER_VALUE: Final = 4096
_MAX_SESSION_NAME: Final = 128
_MAX_MATCHES: Final = 64
_MAX_ALL_MATCHES: Final = 128


class _Rule(Protocol):
    @property
    def name(self) -> str | None: ...

    @property
    def matches(self) -> Sequence[object]: ...


class _RuleOfBytes(Protocol):
    @property
    def name(self) -> str | None: ...

    @property
    def backend_refs(self) -> tuple[BackendRef, ...]: ...


class Route(Protocol):
    """What the routes of HTTP and gRPC have."""

    @property
    def parent_refs(self) -> tuple[ParentReference, ...]: ...

    @property
    def hostnames(self) -> tuple[str, ...]: ...

    @property
    def rules(self) -> Sequence[_Rule]: ...


def route(spec: Route, faults: Faults) -> None:
    """The rules for a route of HTTP as a whole."""
    parents(spec.parent_refs, faults.at("parentRefs"))
    hostnames(spec.hostnames, faults.at("hostnames"))
    where = faults.at("rules")
    limited(spec.rules, MAX_ITEMS, where)
    rule_names([rule.name for rule in spec.rules], where)
    total = sum(len(rule.matches) for rule in spec.rules)
    where.require(total <= _MAX_ALL_MATCHES, f"have {total} matches; at most {_MAX_ALL_MATCHES} are allowed")
    for index, rule in enumerate(spec.rules):
        limited(rule.matches, _MAX_MATCHES, where.item(index).at("matches"))


def limited(items: Sequence[object], most: int, faults: Faults) -> None:
    if len(items) > most:
        faults.add(f"has {len(items)} items; at most {most} are allowed")


def hostname(value: str, faults: Faults, *, wildcard: bool = True) -> None:
    """The Gateway API's `Hostname`: lower-case, at most a first label `*`, no address and no port."""
    if len(value) > 253 or not _HOSTNAME.fullmatch(value):
        faults.add(f"{value!r} is not a host name: lower-case labels, of which the first may be '*'")
    elif rules.is_ip(value):
        faults.add(f"{value!r} is an IP address; expected a host name")
    elif value.startswith("*.") and not wildcard:
        faults.add(f"{value!r} is a wildcard; expected one host name")


def parents(refs: tuple[ParentReference, ...], faults: Faults) -> None:
    """References to the same parent differ in sectionName or port, which all of them then say."""
    limited(refs, 32, faults)
    for index, ref in enumerate(refs):
        where = faults.item(index)
        if where.required(ref.name, "name"):
            rules.dns_subdomain(ref.name, where.at("name"))
        if ref.namespace is not None:
            rules.dns_label(ref.namespace, where.at("namespace"))
        if ref.section_name is not None:
            rules.dns_subdomain(ref.section_name, where.at("sectionName"))
        for other in refs[:index]:
            if (ref.group, ref.kind, ref.namespace, ref.name) != (
                other.group, other.kind, other.namespace, other.name,
            ):  # fmt: skip
                continue
            if (ref.section_name, ref.port) == (other.section_name, other.port):
                where.add("is there twice: the same parent, sectionName and port")
            elif not all(item.section_name or item.port for item in (ref, other)):
                where.add("names a parent again; each of them then needs a sectionName or a port")
            else:
                continue
            break


def backends(refs: Sequence[BackendRef], faults: Faults) -> None:
    """Of a rule without filters: at least one."""
    if not refs:
        faults.add("is required: at least one", Fault.REQUIRED)
    limited(refs, MAX_ITEMS, faults)
    for index, ref in enumerate(refs):
        backend(ref, faults.item(index))


def only_rule(items: Sequence[_RuleOfBytes], faults: Faults) -> None:
    """Routes of bytes have one rule: there is nothing in bytes that could tell several apart."""
    faults.require(len(items) == 1, f"has {len(items)} items; expected exactly one")
    rule_names([rule.name for rule in items], faults)
    for index, rule in enumerate(items):
        backends(rule.backend_refs, faults.item(index).at("backendRefs"))


def hostnames(names: tuple[str, ...], faults: Faults) -> None:
    limited(names, MAX_ITEMS, faults)
    for index, name in enumerate(names):
        hostname(name, faults.item(index))


def rule_names(names: list[str | None], faults: Faults) -> None:
    """Names of rules are optional, and unique where given."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name is None:
            continue
        rules.dns_subdomain(name, faults.item(index).at("name"))
        if name in seen:
            faults.item(index).at("name").add(f"rule {name!r} is there twice")
        seen.add(name)


def backend(ref: BackendObjectReference, faults: Faults) -> None:
    if faults.required(ref.name, "name"):
        rules.dns_subdomain(ref.name, faults.at("name"))
    if ref.namespace is not None:
        rules.dns_label(ref.namespace, faults.at("namespace"))
    if (ref.group, ref.kind) == ("", "Service") and ref.port is None:
        faults.at("port").add("is required for a Service", Fault.REQUIRED)


def header_matches(matches: tuple[HeaderMatch, ...], faults: Faults) -> None:
    """Matches of headers or query parameters; names are the keys of the list."""
    limited(matches, MAX_ITEMS, faults)
    rules.named_once([match.name for match in matches], faults, "name")
    for index, match in enumerate(matches):
        where = faults.item(index)
        _token(match.name, where.at("name"))
        if where.required(match.value, "value"):
            _value(match.value, where.at("value"))


def header_filter(edit: HTTPHeaderFilter, faults: Faults) -> None:
    for field, headers in (("set", edit.set), ("add", edit.add)):
        where = faults.at(field)
        limited(headers, MAX_ITEMS, where)
        rules.named_once([header.name.lower() for header in headers], where, "header")
        for index, header in enumerate(headers):
            _token(header.name, where.item(index).at("name"))
            if where.item(index).required(header.value, "value"):
                _value(header.value, where.item(index).at("value"))
    where = faults.at("remove")
    limited(edit.remove, MAX_ITEMS, where)
    rules.named_once([name.lower() for name in edit.remove], where, "header")
    for index, name in enumerate(edit.remove):
        _token(name, where.item(index))


def mirror(item: HTTPRequestMirrorFilter, faults: Faults) -> None:
    backend(item.backend_ref, faults.at("backendRef"))
    if item.percent is not None and item.fraction is not None:
        faults.at("fraction").add("expected either percent or fraction, found both")
    if item.fraction is not None and item.fraction.numerator > item.fraction.denominator:
        faults.at("fraction").at("numerator").add("is more than the denominator")


def session(item: SessionPersistence, faults: Faults) -> None:
    """The name of a cookie is a token, as the name of a header is (RFC 6265, 4.1.1)."""
    if item.session_name is not None:
        where = faults.at("sessionName")
        where.require(len(item.session_name) <= _MAX_SESSION_NAME, "is longer than 128 characters")
        rules.header_name(item.session_name, where)
    rules.duration(item.absolute_timeout, faults.at("absoluteTimeout"))
    if item.type == "Header":
        faults.at("cookieConfig").require(item.cookie_config is None, "has no effect with type Header")
    elif item.cookie_config is not None and item.cookie_config.lifetime_type == "Permanent":
        faults.required(item.absolute_timeout, "absoluteTimeout")


def typed_once(given: dict[str, object], wanted: str, faults: Faults) -> None:
    """A filter has the field that its type names, and no other. `given`: type → the field's value."""
    for kind, value in given.items():
        name = field_of(kind)
        if kind == wanted and value is None:
            faults.at(name).add(f"is required with type {wanted}", Fault.REQUIRED)
        elif kind != wanted and value is not None:
            faults.at(name).add(f"has no effect with type {wanted}; it belongs to type {kind}")


def field_of(kind: str) -> str:
    """The field of a filter's type: `URLRewrite` → `urlRewrite`, `CORS` → `cors`."""
    special = {"URLRewrite": "urlRewrite", "CORS": "cors", "HTTP": "http", "GRPC": "grpc"}
    return special.get(kind) or kind[0].lower() + kind[1:]


def _token(name: str, faults: Faults) -> None:
    if len(name) > 256 or name.startswith(":"):
        faults.add(f"{name!r} is not a name: no leading ':', at most 256 characters")
    else:
        rules.header_name(name, faults)


def _value(value: str, faults: Faults) -> None:
    if len(value) > MAX_HEADER_VALUE:
        faults.add(f"is longer than {MAX_HEADER_VALUE} characters")
    if any((ord(character) < 32 and character != "\t") or ord(character) == 127 for character in value):
        faults.add("has a control character, which an HTTP header cannot carry")
