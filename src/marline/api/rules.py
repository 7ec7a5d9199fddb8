"""Rules for single values that several kinds share: names, hosts, ports, headers, expressions.

Each takes a value and a `Faults` that stands at its field, and adds what is wrong.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Final

from marline.api.faults import Faults
from marline.api.model import PolicyTargetReference
from marline.api.re2 import NotRe2, to_python
from marline.api.scalars import Duration

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_HOST: Final = re.compile(
    r"[a-zA-Z0-9_]([-a-zA-Z0-9_]*[a-zA-Z0-9_])?(\.[a-zA-Z0-9_]([-a-zA-Z0-9_]*[a-zA-Z0-9_])?)*\.?"
)
_QUALIFIED: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_HEADER: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def dns_label(value: str, faults: Faults) -> None:
    """RFC 1123 label, as Kubernetes requires of a namespace's or a service's name."""
    if len(value) > 63 or not _LABEL.fullmatch(value):
        faults.add(f"{value!r} is not a DNS label: lower-case letters, digits and '-', at most 63 characters")


def dns_subdomain(value: str, faults: Faults) -> None:
    """RFC 1123 subdomain, as Kubernetes requires of most names."""
    if len(value) > 253 or not _SUBDOMAIN.fullmatch(value):
        faults.add(
            f"{value!r} is not a DNS name: lower-case letters, digits, '-' and '.', at most 253 characters"
        )


def path_segment(value: str, faults: Faults) -> None:
    """A name that can be a part of a path, as Kubernetes asks of the names of roles."""
    if (
        value in (".", "..")
        or not value
        or len(value) > 253
        or any(letter in "/%" or not letter.isprintable() for letter in value)
    ):
        faults.add(f"{value!r} cannot be a part of a path: no '/', no '%', not '.' or '..'")


def host(value: str, faults: Faults, *, wildcard: bool = True, address: bool = True) -> None:
    """A host name, `*`, a `*.` name, or an IP address."""
    if wildcard and value == "*":
        return
    name = value[2:] if wildcard and value.startswith("*.") else value
    if "*" in name:
        faults.add(f"{value!r} is not a host: a wildcard is allowed only as '*' or as the first label")
    elif not value:
        faults.add("is empty; expected a host name")
    elif is_ip(name):
        faults.require(address, f"{value!r} is an IP address; expected a host name")
    elif len(name) > 255 or not _HOST.fullmatch(name) or any(len(part) > 63 for part in name.split(".")):
        faults.add(f"{value!r} is not a host name")


def is_ip(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def cidr(value: str, faults: Faults) -> None:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        faults.add(f"{value!r} is neither an IP address nor a CIDR block")


def labels(value: Mapping[str, str], faults: Faults) -> None:
    """Kubernetes label syntax: [prefix/]name, and values of at most 63 characters."""
    for key, text in value.items():
        prefix, slash, name = key.rpartition("/")
        if not _QUALIFIED.fullmatch(name) or (slash and not _SUBDOMAIN.fullmatch(prefix)):
            faults.key(key).add(
                f"{key!r} is not a label key: [prefix/]name of letters, digits, '-', '_', '.'"
            )
        if text and not _QUALIFIED.fullmatch(text):
            faults.key(key).add(f"{text!r} is not a label value: at most 63 letters, digits, '-', '_', '.'")


def header_name(value: str, faults: Faults, *, writable: bool = False) -> None:
    """An HTTP header's name (RFC 9110); Envoy lets nobody change `:` headers or `host`."""
    name = value[1:] if value.startswith(":") else value
    if not name or not _HEADER.fullmatch(name):
        faults.add(f"{value!r} is not an HTTP header name")
    elif writable and value.startswith(":") and value.lower() != ":authority":
        faults.add(f"{value!r} is a pseudo-header and cannot be changed")


def header_value(value: str, faults: Faults) -> None:
    if any((ord(character) < 32 and character != "\t") or ord(character) == 127 for character in value):
        faults.add("has a control character, which an HTTP header cannot carry")
    if len(value) > 16384:
        faults.add("is longer than the 16384 characters that Envoy allows")
    if value.count("%") % 2 and not re.search(r"%[A-Z_]", value):
        faults.add(
            f"{value!r} has a '%' that starts no Envoy command operator; write '%%' for a percent sign"
        )


def regex(value: str, faults: Faults) -> None:
    """A regular expression that Envoy's RE2 takes."""
    if not value:
        faults.add("is empty; expected a regular expression")
        return
    try:
        to_python(value)
    except NotRe2 as error:
        faults.add(f"{value!r} is not a regular expression that Envoy's RE2 takes: {error}")


def duration(value: Duration | None, faults: Faults, *, least: float = 0.001) -> None:
    """Istio's durations are at least a millisecond unless zero is meaningful (`least=0`)."""
    if value is not None and value < least:
        faults.add(f"{value} is too short; expected at least {Duration(least)}")


def export_to(value: tuple[str, ...], faults: Faults) -> None:
    for index, namespace in enumerate(value):
        if namespace not in (".", "*", "~"):
            dns_label(namespace, faults.item(index))
    if "*" in value and len(value) > 1:
        faults.add("'*' stands for all namespaces and cannot be combined with others")


def named_once(names: list[str], faults: Faults, what: str) -> None:
    """No two of a list carry the same name."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            faults.item(index).add(f"{what} {name!r} is there twice")
        seen.add(name)


def gateway_targets(references: tuple[PolicyTargetReference, ...], faults: Faults) -> None:
    """A policy for proxies can be attached to Gateways; Istio attaches others to waypoints."""
    for index, reference in enumerate(references):
        gateway_target(reference, faults.item(index))


def gateway_target(reference: PolicyTargetReference, faults: Faults) -> None:
    if (reference.group, reference.kind) != ("gateway.networking.k8s.io", "Gateway"):
        faults.unsupported(
            f"{reference.group or 'core'}/{reference.kind} is not acted on: expected a "
            "gateway.networking.k8s.io Gateway, since there are no waypoints"
        )
    faults.required(reference.name, "name")
