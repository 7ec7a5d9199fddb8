"""What a rule of an AuthorizationPolicy must fulfil (as Istio's validation, and what could match nothing)."""

import re
from collections.abc import Callable, Iterable
from typing import Final

from marline.api import rules
from marline.api.errors import Fault
from marline.api.faults import Faults, nearest
from marline.api.security.authorization_rule import Condition, Operation, Rule, Source
from marline.api.security.condition_keys import (
    FILTER_METADATA,
    REPLACED,
    REQUEST_CLAIMS,
    REQUEST_HEADERS,
    SUPPORTED,
    condition_key,
)

_MAX_SERVICE_ACCOUNTS: Final = 16
_MAX_SERVICE_ACCOUNT: Final = 320
_SPIFFE: Final = "spiffe://"
_ONE_SEGMENT: Final = "{*}"
_MANY_SEGMENTS: Final = "{**}"
Check = Callable[[str, Faults], None]


def validate_rule(rule: Rule, faults: Faults) -> None:
    """Istio's rules for one `rules[]`."""
    for index, caller in enumerate(rule.from_):
        where = faults.at("from").item(index)
        where.required(caller.source, "source")
        if caller.source is not None:
            _source(caller.source, where.at("source"))
    for index, called in enumerate(rule.to):
        where = faults.at("to").item(index)
        where.required(called.operation, "operation")
        if called.operation is not None:
            _operation(called.operation, where.at("operation"))
    for index, condition in enumerate(rule.when):
        _condition(condition, faults.at("when").item(index))


def _source(source: Source, faults: Faults) -> None:
    accounts = (*source.service_accounts, *source.not_service_accounts)
    names = (*source.principals, *source.not_principals, *source.namespaces, *source.not_namespaces)
    fields = (
        ("principals", source.principals, source.not_principals, _principal),
        ("requestPrincipals", source.request_principals, source.not_request_principals, _text),
        ("namespaces", source.namespaces, source.not_namespaces, _text),
        ("serviceAccounts", source.service_accounts, source.not_service_accounts, _service_account),
        ("ipBlocks", source.ip_blocks, source.not_ip_blocks, _block),
        ("remoteIpBlocks", source.remote_ip_blocks, source.not_remote_ip_blocks, _block),
    )
    _fields(fields, faults)
    if accounts and names:
        faults.at("serviceAccounts").add("cannot be combined with principals or namespaces")
    for name, values in (
        ("serviceAccounts", source.service_accounts),
        ("notServiceAccounts", source.not_service_accounts),
    ):
        if len(values) > _MAX_SERVICE_ACCOUNTS:
            faults.at(name).add(f"has {len(values)} entries; expected at most {_MAX_SERVICE_ACCOUNTS}")


def _operation(operation: Operation, faults: Faults) -> None:
    fields = (
        ("hosts", operation.hosts, operation.not_hosts, _text),
        ("ports", operation.ports, operation.not_ports, _port),
        ("methods", operation.methods, operation.not_methods, _text),
        ("paths", operation.paths, operation.not_paths, _path),
    )
    _fields(fields, faults)


def _fields(fields: Iterable[tuple[str, tuple[str, ...], tuple[str, ...], Check]], faults: Faults) -> None:
    """Check each value of each field, and that there is one at all."""
    given = False
    for name, values, others, check in fields:
        _values(name, values, others, check, faults)
        given = given or bool(values or others)
    faults.require(given, "is empty; expected at least one field")


def _values(
    name: str, values: tuple[str, ...], others: tuple[str, ...], check: Check, faults: Faults
) -> None:
    negated = f"not{name[0].upper()}{name[1:]}"
    for field, items in ((name, values), (negated, others)):
        for index, value in enumerate(items):
            check(value, faults.at(field).item(index))


def _text(value: str, faults: Faults) -> None:
    faults.require(value, "is empty; expected a text, or '*' for any")


def _principal(value: str, faults: Faults) -> None:
    _text(value, faults)
    if value.startswith(_SPIFFE):
        faults.add(
            f"{value!r} matches nothing: write it without {_SPIFFE!r}", suggestion=value[len(_SPIFFE) :]
        )


def _service_account(value: str, faults: Faults) -> None:
    namespace, slash, name = value.rpartition("/")
    if not name or "/" in namespace or (slash and not namespace):
        faults.add(f"{value!r} is not a service account; expected NAME or NAMESPACE/NAME")
    elif "*" in value:
        faults.add(f"{value!r} has a '*', which service accounts are not matched by; use principals")
    elif len(value) > _MAX_SERVICE_ACCOUNT:
        faults.add(f"is longer than {_MAX_SERVICE_ACCOUNT} characters")


def _block(value: str, faults: Faults) -> None:
    rules.cidr(value, faults)


def _port(value: str, faults: Faults) -> None:
    if not re.fullmatch(r"[0-9]{1,5}", value) or int(value) > 65535:
        faults.add(f"{value!r} is no port; expected a number up to 65535")


def _path(value: str, faults: Faults) -> None:
    """A path, or a template (istio.io reference, `Operation.paths`)."""
    _text(value, faults)
    if not is_template(value):
        return
    left = value.replace(_MANY_SEGMENTS, "").replace(_ONE_SEGMENT, "")
    if "*" in left or "{" in left or "}" in left:
        faults.add(f"{value!r} is not a template: expected no '*', '{{' or '}}' outside of {{*}} and {{**}}")
    elif _MANY_SEGMENTS in value and "{" in value.partition(_MANY_SEGMENTS)[2]:
        faults.add(f"{value!r} is not a template: {_MANY_SEGMENTS} can only be the last of its operators")
    elif not value.startswith("/") or not all(
        segment in (_ONE_SEGMENT, _MANY_SEGMENTS) or "{" not in segment for segment in value.split("/")
    ):
        faults.add(f"{value!r} is not a template: expected operators as whole segments of a path")


def is_template(path: str) -> bool:
    return _ONE_SEGMENT in path or _MANY_SEGMENTS in path


def _condition(condition: Condition, faults: Faults) -> None:
    if not (condition.values or condition.not_values):
        faults.add("expected values or notValues")
    key = condition_key(condition.key)
    if key is None:
        _unknown_key(condition.key, faults.at("key"))
        return
    if key.attribute == REQUEST_HEADERS:
        rules.header_name(key.names[0], faults.at("key"))
    _values("values", condition.values, condition.not_values, _CHECKS.get(key.attribute, _text), faults)


_CHECKS: Final[dict[str, Check]] = {
    "source.ip": _block,
    "remote.ip": _block,
    "destination.ip": _block,
    "destination.port": _port,
    "source.principal": _principal,
    "source.serviceAccount": _service_account,
}


def _unknown_key(key: str, faults: Faults) -> None:
    attribute = key.partition("[")[0]
    if attribute in REPLACED:
        faults.add(f"{key!r} is no longer supported: {REPLACED[attribute]}")
    elif attribute in (REQUEST_HEADERS, REQUEST_CLAIMS) or attribute.startswith(FILTER_METADATA):
        faults.add(
            f"{key!r} is incomplete or malformed; expected a name in brackets, as in {attribute}[NAME]"
        )
    else:
        faults.add(
            f"{key!r} is not supported; expected one of {', '.join(SUPPORTED)}",
            Fault.NOT_SUPPORTED,
            nearest(key, SUPPORTED),
        )
