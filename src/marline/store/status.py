"""Errors as Kubernetes `Status` objects, and back (kubernetes.io API reference, meta/v1 Status)."""

from collections.abc import Mapping
from typing import Any, Final

from marline.api.errors import Fault, FieldError, InvalidResource
from marline.api.registry import kind_for_plural, kind_of
from marline.api.resource import Ref
from marline.store.interface import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Expired,
    Forbidden,
    NotFound,
    Refused,
    StoreError,
    Unavailable,
)

_FAULTS: Final = {fault.value: fault for fault in Fault}


def success(**details: Any) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def failure(code: int, reason: str, message: str, details: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        **({"details": dict(details)} if details else {}),
        "code": code,
    }


def to_status(error: StoreError | InvalidResource, ref: Ref | None = None) -> dict[str, Any]:
    """`ref` is what the request was about, where the error does not say."""
    if isinstance(error, InvalidResource):
        return _invalid(error, ref)
    about = getattr(error, "ref", ref)
    details = _details(about) if isinstance(about, Ref) else {}
    if causes := getattr(error, "causes", ()):
        details["causes"] = [dict(cause) for cause in causes]
    return failure(error.code, error.reason, _message(error), details)


def _message(error: StoreError) -> str:
    """The words that kube-apiserver uses, since scripts read them."""
    if isinstance(error, NotFound):
        return f'{resource_name(error.ref)} "{error.ref.name}" not found'
    if isinstance(error, AlreadyExists):
        return f'{resource_name(error.ref)} "{error.ref.name}" already exists'
    if isinstance(error, Expired):
        return f"The resourceVersion for the provided watch is too old: {error.resource_version}"
    if isinstance(error, Conflict):
        return error.message
    return str(error)


def resource_name(ref: Ref) -> str:
    """`virtualservices.networking.istio.io`, `services`."""
    kind = kind_of(ref.group, ref.kind)
    plural = kind.plural if kind else ref.kind
    return f"{plural}.{ref.group}" if ref.group else plural


def _details(ref: Ref) -> dict[str, Any]:
    kind = kind_of(ref.group, ref.kind)
    name, group = {"name": ref.name} if ref.name else {}, {"group": ref.group} if ref.group else {}
    return {**name, **group, "kind": kind.plural if kind else ref.kind}


def _invalid(error: InvalidResource, ref: Ref | None) -> dict[str, Any]:
    faults = [(fault, _fault_message(fault)) for fault in error.errors]
    causes = [{"reason": fault.fault.value, "message": text, "field": fault.path} for fault, text in faults]
    if ref is None:
        return failure(422, "Invalid", str(error), {"causes": causes})
    details = {**_details(ref), "kind": ref.kind, "causes": causes}
    name = f"{ref.kind}.{ref.group}" if ref.group else ref.kind
    listed = [f"{fault.path}: {text}" for fault, text in faults]
    text = listed[0] if len(listed) == 1 else f"[{', '.join(listed)}]"
    return failure(422, "Invalid", f'{name} "{ref.name}" is invalid: {text}', details)


def _fault_message(fault: FieldError) -> str:
    return fault.message + (f" (did you mean {fault.suggestion!r}?)" if fault.suggestion else "")


def from_status(status: Mapping[str, Any], code: int, ref: Ref | None = None) -> StoreError | InvalidResource:
    """The error that a server has answered with."""
    reason = str(status.get("reason") or "")
    message = str(status.get("message") or f"the server answered {code}")
    details = status.get("details") or {}
    code = int(status.get("code") or code)
    if reason == "Invalid":
        what = str(ref) if ref else f"{details.get('kind', 'object')} {details.get('name', '')}".rstrip()
        return InvalidResource(what, _faults(details, message))
    if reason == "NotFound" and (absent := _absent(details, ref)):
        return NotFound(absent)
    # A request for several resources is about the one that the details name.
    about = ref or _absent(details, None)
    if about is not None and reason == "AlreadyExists":
        return AlreadyExists(about)
    if about is not None and reason == "Conflict":
        return Conflict(about, message, tuple(details.get("causes") or ()))
    if reason in ("Expired", "Gone") or code == 410:
        return Expired(str(details.get("resourceVersion", "")) or message)
    if reason == "BadRequest":
        return BadRequest(message)
    if reason == "Forbidden":
        return Forbidden(message)
    if code in (429, 500, 502, 503, 504):
        return Unavailable(message)
    return Refused(message, reason or "Unknown", code)


def _absent(details: Mapping[str, Any], ref: Ref | None) -> Ref | None:
    """What was not found: what was asked for, or what that needs, such as its namespace."""
    name, plural, group = (str(details.get(key) or "") for key in ("name", "kind", "group"))
    if not name:
        return ref
    kind = kind_for_plural(group, plural)
    if kind is None or (ref and ref[:2] == (kind.group, kind.kind) and ref.name == name):
        return ref
    return Ref(kind.group, kind.kind, ref.namespace if ref and kind.namespaced else "", name)


def _faults(details: Mapping[str, Any], message: str) -> tuple[FieldError, ...]:
    found = tuple(
        FieldError(
            str(cause.get("field", "")),
            str(cause.get("message", "")),
            _FAULTS.get(str(cause.get("reason")), Fault.INVALID),
        )
        for cause in details.get("causes") or ()
    )
    return found or (FieldError("(root)", message),)
