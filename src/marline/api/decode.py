"""Between plain objects and typed resources."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from marline.api import rules
from marline.api.errors import Fault, FieldError, InvalidResource
from marline.api.faults import Faults, nearest
from marline.api.refusals import ineffective, refuse
from marline.api.registry import KINDS, Kind, kind_of
from marline.api.resource import ObjectMeta, Resource
from marline.api.shape import convert, encode_scalar

_ENVELOPE: Final = ("apiVersion", "kind", "metadata", "status")


def decode(obj: Mapping[str, Any]) -> Resource[Any]:
    """The typed form of an object whose shape is right; raises `InvalidResource` with all faults."""
    kind, version = _kind(obj)
    faults = Faults()
    resource = _typed(obj, kind, version, faults)
    return _or_raise(obj, resource, faults)


def admit(obj: Mapping[str, Any]) -> Resource[Any]:
    """As `decode`, for an object that a user wants to have: it must also make sense, and Marline must
    act on all of it. Raises `InvalidResource` with all faults."""
    kind, version = _kind(obj)
    faults = Faults()
    resource = _typed(obj, kind, version, faults)
    if resource is not None:
        _metadata(resource.metadata, kind, faults.at("metadata"))
        where = faults.at("spec") if kind.in_spec else faults
        kind.validate(resource, where)
        refuse(obj.get("spec", {}) if kind.in_spec else obj, kind.refused, where)
        if kind.not_acted_on:
            faults.at("kind").unsupported(f"{kind.kind} is not acted on: {kind.not_acted_on}")
    return _or_raise(obj, resource, faults)


def warnings(obj: Mapping[str, Any]) -> tuple[str, ...]:
    """What of an object that was admitted has no effect, in sentences for whoever wrote it."""
    kind, _ = _kind(obj)
    where, name = (obj.get("spec", {}), "spec") if kind.in_spec else (obj, "")
    return (*ineffective(where, kind.ineffective, name), *kind.remarks(obj))


def encode(resource: Resource[Any]) -> dict[str, Any]:
    """The plain JSON object of a resource."""
    kind = kind_of(resource.group, resource.kind)
    body = msgspec.to_builtins(resource.spec, str_keys=True, enc_hook=encode_scalar)
    obj: dict[str, Any] = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": msgspec.to_builtins(resource.metadata),
    }
    obj |= {"spec": body} if kind is None or kind.in_spec else body
    if resource.status:
        obj["status"] = dict(resource.status)
    return obj


def describe(obj: Mapping[str, Any]) -> str:
    """What a user would call this object: `VirtualService default/reviews`."""
    metadata = obj.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    name = metadata.get("name") or metadata.get("generateName") or "(no name)"
    namespace = metadata.get("namespace")
    return f"{obj.get('kind') or 'object'} {namespace + '/' if isinstance(namespace, str) else ''}{name}"


def _kind(obj: Mapping[str, Any]) -> tuple[Kind, str]:
    api_version, name = obj.get("apiVersion"), obj.get("kind")
    faults = Faults()
    if not isinstance(api_version, str) or not api_version:
        faults.at("apiVersion").add("is required, such as networking.istio.io/v1", Fault.REQUIRED)
    if not isinstance(name, str) or not name:
        faults.at("kind").add("is required, such as VirtualService", Fault.REQUIRED)
    if faults.errors:
        raise InvalidResource(describe(obj), tuple(faults.errors))
    group, _, version = str(api_version).rpartition("/")
    kind = kind_of(group, str(name))
    if kind is None:
        faults.errors.append(_unknown_kind(group, str(api_version), str(name)))
    elif version not in kind.versions:
        known = ", ".join(f"{group}/{known}" if group else known for known in kind.versions)
        faults.at("apiVersion").add(f"{api_version!r} is not a version of {name}; expected {known}")
    if kind is None or faults.errors:
        raise InvalidResource(describe(obj), tuple(faults.errors))
    return kind, version


def _unknown_kind(group: str, api_version: str, name: str) -> FieldError:
    elsewhere = [kind for kind in KINDS if kind.kind == name]
    if elsewhere:
        expected = " or ".join(kind.api_version for kind in elsewhere)
        return FieldError("apiVersion", f"{api_version!r} has no kind {name}; expected {expected}")
    in_group = [kind.kind for kind in KINDS if kind.group == group]
    suggestion = nearest(name, in_group or [kind.kind for kind in KINDS])
    return FieldError("kind", f"{name!r} is not a kind that Marline knows", suggestion=suggestion)


def _typed(obj: Mapping[str, Any], kind: Kind, version: str, faults: Faults) -> Resource[Any] | None:
    metadata = convert(obj.get("metadata", {}), ObjectMeta, faults.at("metadata"))
    status = {} if obj.get("status") is None else obj["status"]
    if not isinstance(status, Mapping):
        faults.at("status").add("expected an object", Fault.TYPE)
    elif status and not kind.status:
        faults.at("status").add(f"unknown field: a {kind.kind} has no status", Fault.UNKNOWN)
    if kind.in_spec:
        for name in obj:
            if name not in (*_ENVELOPE, "spec"):
                faults.at(str(name)).add(
                    "unknown field", Fault.UNKNOWN, nearest(str(name), ["spec", "metadata"])
                )
        spec = convert(_default_spec(obj), kind.spec, faults.at("spec"))
    else:
        body = {name: value for name, value in obj.items() if name not in _ENVELOPE}
        spec = convert(body, kind.spec, faults)
    if metadata is None or spec is None or faults.errors:
        return None
    return Resource(kind.group, version, kind.kind, metadata, spec, status)


def _default_spec(obj: Mapping[str, Any]) -> Any:
    spec = obj.get("spec")
    return {} if spec is None else spec


def _metadata(metadata: ObjectMeta, kind: Kind, faults: Faults) -> None:
    if not metadata.name and not metadata.generate_name:
        faults.at("name").add("is required", Fault.REQUIRED)
    elif metadata.name:
        _name_rule(kind)(metadata.name, faults.at("name"))
    if metadata.namespace:
        if kind.namespaced:
            rules.dns_label(metadata.namespace, faults.at("namespace"))
        else:
            faults.at("namespace").add(f"a {kind.kind} is in no namespace")
    rules.labels(metadata.labels, faults.at("labels"))
    for key in metadata.annotations:
        rules.labels({key: ""}, faults.at("annotations"))


def _name_rule(kind: Kind) -> Callable[[str, Faults], None]:
    if kind.path_names:
        return rules.path_segment
    strict = kind.kind in ("Namespace", "Service") and not kind.group
    return rules.dns_label if strict else rules.dns_subdomain


def _or_raise(obj: Mapping[str, Any], resource: Resource[Any] | None, faults: Faults) -> Resource[Any]:
    if resource is None or faults.errors:
        raise InvalidResource(describe(obj), tuple(faults.errors))
    return resource
