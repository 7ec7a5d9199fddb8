"""Header operations of rules and destinations, for VirtualService and HTTPRoute alike."""

from dataclasses import dataclass
from typing import Any

from envoy.config.core.v3 import base_pb2

from marline.api.networking.virtual_service import HeaderOperations, Headers

_APPEND = base_pb2.HeaderValueOption.APPEND_IF_EXISTS_OR_ADD
_OVERWRITE = base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD


@dataclass(frozen=True, slots=True)
class HeaderChange:
    """What one filter or rule does to a message's headers."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeaderChanges:
    """For a request and its response; `authority` is the new Host header, "" to keep it."""

    request: HeaderChange = HeaderChange()
    response: HeaderChange = HeaderChange()
    authority: str = ""


def header_changes(headers: Headers | None) -> HeaderChanges:
    """VirtualService `headers`. Envoy refuses to edit `Host` and pseudo headers as headers: a `set`
    (or `add`) of the host rewrites the authority, as in Istio; pseudo headers are left alone."""
    if headers is None:
        return HeaderChanges()
    request, authority = _operations(headers.request)
    response, _ = _operations(headers.response)
    return HeaderChanges(request, response, authority)


def _operations(operations: HeaderOperations | None) -> tuple[HeaderChange, str]:
    if operations is None:
        return HeaderChange(), ""
    authority = ""
    for name, value in [*operations.add.items(), *operations.set.items()]:
        if _is_host(name):
            authority = value
    return (
        HeaderChange(
            tuple((name, value) for name, value in sorted(operations.set.items()) if _may_edit(name)),
            tuple((name, value) for name, value in sorted(operations.add.items()) if _may_edit(name)),
            tuple(name for name in operations.remove if _may_edit(name)),
        ),
        authority,
    )


def _is_host(name: str) -> bool:
    return name.lower() in ("host", ":authority")


def _may_edit(name: str) -> bool:
    return not name.startswith(":") and name.lower() != "host"


def escape(value: str) -> str:
    """Envoy reads `%` as the start of a command; the Gateway API means it literally."""
    return value.replace("%", "%%")


def apply_headers(target: Any, changes: HeaderChanges) -> None:
    """Put the changes on an Envoy `Route`, `VirtualHost` or `ClusterWeight`: they share these fields."""
    _apply(target.request_headers_to_add, target.request_headers_to_remove, changes.request)
    _apply(target.response_headers_to_add, target.response_headers_to_remove, changes.response)


def _apply(to_add: Any, to_remove: Any, change: HeaderChange) -> None:
    to_remove.extend(change.remove)
    for pairs, action in ((change.set, _OVERWRITE), (change.add, _APPEND)):
        for name, value in pairs:
            option = to_add.add(append_action=action, keep_empty_value=True)
            option.header.key, option.header.value = name, value
