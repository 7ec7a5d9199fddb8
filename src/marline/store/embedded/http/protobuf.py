"""Bodies that typed Go clients send: some core kinds in Kubernetes' protobuf encoding.

`kubectl create namespace|configmap|secret|service` and client-go's typed clients write only this for
kinds of the core group; answers may be JSON. So messages are read, driven by tables of field numbers
(k8s.io/api, the generated.proto of each group), and never written. A field that the tables do not have
is refused, as an unknown field of JSON is (kubernetes.io, "API Concepts", "Alternate representations").
"""

import base64
import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from marline.store.interface import BadRequest, Refused

MEDIA: Final = "application/vnd.kubernetes.protobuf"
_MAGIC: Final = b"k8s\x00"


@dataclass(frozen=True, slots=True)
class _Field:
    """`type` is a scalar (text, number, flag, bytes, time, port) or the name of a message."""

    name: str
    type: str = "text"
    form: str = "one"
    """one, many, or map (from text to `type`)."""
    keep: bool = False
    """Go writes empty values too, and they mean absent, unless the field is a pointer there."""


_Table = Mapping[int, _Field]

_META: Final[_Table] = {
    1: _Field("name"),
    2: _Field("generateName"),
    3: _Field("namespace"),
    4: _Field("selfLink"),
    5: _Field("uid"),
    6: _Field("resourceVersion"),
    7: _Field("generation", "number"),
    8: _Field("creationTimestamp", "time"),
    9: _Field("deletionTimestamp", "time"),
    10: _Field("deletionGracePeriodSeconds", "number", keep=True),
    11: _Field("labels", form="map"),
    12: _Field("annotations", form="map"),
    13: _Field("ownerReferences", "OwnerReference", "many"),
    14: _Field("finalizers", form="many"),
}
_SERVICE_SPEC: Final[_Table] = {
    1: _Field("ports", "ServicePort", "many"),
    2: _Field("selector", form="map"),
    3: _Field("clusterIP"),
    4: _Field("type"),
    5: _Field("externalIPs", form="many"),
    7: _Field("sessionAffinity"),
    8: _Field("loadBalancerIP"),
    9: _Field("loadBalancerSourceRanges", form="many"),
    10: _Field("externalName"),
    11: _Field("externalTrafficPolicy"),
    12: _Field("healthCheckNodePort", "number"),
    13: _Field("publishNotReadyAddresses", "flag"),
    17: _Field("ipFamilyPolicy"),
    18: _Field("clusterIPs", form="many"),
    19: _Field("ipFamilies", form="many"),
    20: _Field("allocateLoadBalancerNodePorts", "flag", keep=True),
    21: _Field("loadBalancerClass"),
    22: _Field("internalTrafficPolicy"),
    23: _Field("trafficDistribution"),
}
_EVENT: Final[_Table] = {
    1: _Field("metadata", "ObjectMeta"),
    2: _Field("involvedObject", "ObjectReference"),
    3: _Field("reason"),
    4: _Field("message"),
    5: _Field("source", "EventSource"),
    6: _Field("firstTimestamp", "time"),
    7: _Field("lastTimestamp", "time"),
    8: _Field("count", "number"),
    9: _Field("type"),
    10: _Field("eventTime", "time"),
    12: _Field("action"),
    13: _Field("related", "ObjectReference"),
    14: _Field("reportingComponent"),
    15: _Field("reportingInstance"),
}
_BINDING: Final[_Table] = {
    1: _Field("metadata", "ObjectMeta"),
    2: _Field("subjects", "Subject", "many"),
    3: _Field("roleRef", "RoleRef"),
}
_MESSAGES: Final[Mapping[str, _Table]] = {
    "ObjectMeta": _META,
    "OwnerReference": {
        1: _Field("kind"), 3: _Field("name"), 4: _Field("uid"), 5: _Field("apiVersion"),
        6: _Field("controller", "flag", keep=True), 7: _Field("blockOwnerDeletion", "flag", keep=True),
    },
    "ObjectReference": {
        1: _Field("kind"), 2: _Field("namespace"), 3: _Field("name"), 4: _Field("uid"),
        5: _Field("apiVersion"), 6: _Field("resourceVersion"), 7: _Field("fieldPath"),
    },
    "EventSource": {1: _Field("component"), 2: _Field("host")},
    "Namespace": {
        1: _Field("metadata", "ObjectMeta"), 2: _Field("spec", "NamespaceSpec"),
        3: _Field("status", "Ignored"),
    },
    "NamespaceSpec": {1: _Field("finalizers", form="many")},
    "ConfigMap": {
        1: _Field("metadata", "ObjectMeta"), 2: _Field("data", form="map"),
        3: _Field("binaryData", "bytes", "map"), 4: _Field("immutable", "flag", keep=True),
    },
    "Secret": {
        1: _Field("metadata", "ObjectMeta"), 2: _Field("data", "bytes", "map"), 3: _Field("type"),
        4: _Field("stringData", form="map"), 5: _Field("immutable", "flag", keep=True),
    },
    "Service": {
        1: _Field("metadata", "ObjectMeta"), 2: _Field("spec", "ServiceSpec"), 3: _Field("status", "Ignored"),
    },
    "ServiceSpec": _SERVICE_SPEC,
    "ServicePort": {
        1: _Field("name"), 2: _Field("protocol"), 3: _Field("port", "number"),
        4: _Field("targetPort", "port"), 5: _Field("nodePort", "number"), 6: _Field("appProtocol"),
    },
    "Event": _EVENT,
    "SelfSubjectReview": {1: _Field("metadata", "ObjectMeta"), 2: _Field("status", "Ignored")},
    "SelfSubjectAccessReview": {
        1: _Field("metadata", "ObjectMeta"), 2: _Field("spec", "AccessSpec"), 3: _Field("status", "Ignored"),
    },
    "SelfSubjectRulesReview": {
        1: _Field("metadata", "ObjectMeta"), 2: _Field("spec", "RulesSpec"), 3: _Field("status", "Ignored"),
    },
    "SubjectAccessReview": {
        1: _Field("metadata", "ObjectMeta"), 2: _Field("spec", "SubjectSpec"), 3: _Field("status", "Ignored"),
    },
    "LocalSubjectAccessReview": {
        1: _Field("metadata", "ObjectMeta"), 2: _Field("spec", "SubjectSpec"), 3: _Field("status", "Ignored"),
    },
    "SubjectSpec": {
        1: _Field("resourceAttributes", "ResourceAttributes"),
        2: _Field("nonResourceAttributes", "PathAttributes"), 3: _Field("user"),
        4: _Field("groups", form="many"), 6: _Field("uid"),
    },
    "Role": {1: _Field("metadata", "ObjectMeta"), 2: _Field("rules", "PolicyRule", "many")},
    "ClusterRole": {
        1: _Field("metadata", "ObjectMeta"), 2: _Field("rules", "PolicyRule", "many"),
        3: _Field("aggregationRule", "AggregationRule"),
    },
    "PolicyRule": {
        1: _Field("verbs", form="many"), 2: _Field("apiGroups", form="many"),
        3: _Field("resources", form="many"), 4: _Field("resourceNames", form="many"),
        5: _Field("nonResourceURLs", form="many"),
    },
    "AggregationRule": {1: _Field("clusterRoleSelectors", "LabelSelector", "many")},
    "LabelSelector": {
        1: _Field("matchLabels", form="map"), 2: _Field("matchExpressions", "LabelRequirement", "many"),
    },
    "LabelRequirement": {1: _Field("key"), 2: _Field("operator"), 3: _Field("values", form="many")},
    "RoleBinding": _BINDING,
    "ClusterRoleBinding": _BINDING,
    "Subject": {1: _Field("kind"), 2: _Field("apiGroup"), 3: _Field("name"), 4: _Field("namespace")},
    "RoleRef": {1: _Field("apiGroup"), 2: _Field("kind"), 3: _Field("name")},
    "RulesSpec": {1: _Field("namespace")},
    "AccessSpec": {
        1: _Field("resourceAttributes", "ResourceAttributes"),
        2: _Field("nonResourceAttributes", "PathAttributes"),
    },
    "ResourceAttributes": {
        1: _Field("namespace"), 2: _Field("verb"), 3: _Field("group"), 4: _Field("version"),
        5: _Field("resource"), 6: _Field("subresource"), 7: _Field("name"),
    },
    "PathAttributes": {1: _Field("path"), 2: _Field("verb")},
    "DeleteOptions": {
        1: _Field("gracePeriodSeconds", "number", keep=True), 2: _Field("preconditions", "Preconditions"),
        3: _Field("orphanDependents", "flag", keep=True), 4: _Field("propagationPolicy"),
        5: _Field("dryRun", form="many"),
    },
    "Preconditions": {1: _Field("uid"), 2: _Field("resourceVersion")},
}  # fmt: skip
_BODIES: Final = (
    "Namespace", "ConfigMap", "Secret", "Service", "Event", "SelfSubjectReview", "SelfSubjectAccessReview",
    "SelfSubjectRulesReview", "SubjectAccessReview", "LocalSubjectAccessReview", "Role", "ClusterRole",
    "RoleBinding", "ClusterRoleBinding", "DeleteOptions",
)  # fmt: skip


def decode(body: bytes) -> dict[str, Any]:
    """The object in a body. Raises `BadRequest` if it is malformed, `Refused` for other kinds."""
    if not body.startswith(_MAGIC):
        raise BadRequest("the body is not in Kubernetes' protobuf encoding")
    try:
        envelope = dict(_fields(body[len(_MAGIC) :]))
        names = dict(_fields(envelope[1]))
        api_version, kind = names.get(1, b"").decode(), names[2].decode()
        if kind not in _BODIES:
            raise Refused(f"{kind} in protobuf is not supported; send JSON", "UnsupportedMediaType", 415)
        return {"apiVersion": api_version, "kind": kind, **_message(kind, envelope[2])}
    except (LookupError, ValueError, AttributeError, TypeError) as error:
        raise BadRequest(f"the body is not in Kubernetes' protobuf encoding: {error}") from error


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers and raw values: bytes, or an int (protobuf.dev, "Encoding")."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        match tag & 7:
            case 0:
                value, position = _varint(data, position)
                yield tag >> 3, value
            case 2:
                length, position = _varint(data, position)
                if position + length > len(data):
                    raise ValueError("a field is longer than its message")
                yield tag >> 3, data[position : position + length]
                position += length
            case wire:
                raise ValueError(f"wire type {wire} is not used by Kubernetes")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("a number is too long")


def _message(name: str, data: bytes) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if name == "Ignored":
        return result
    for number, raw in _fields(data):
        field = _MESSAGES[name].get(number)
        if field is None:
            raise ValueError(f"field {number} of {name} is not supported; send JSON")
        if field.form == "map":
            entry = dict(_fields(raw))
            result.setdefault(field.name, {})[entry.get(1, b"").decode()] = _value(
                field.type, entry.get(2, b"")
            )
            continue
        value = _value(field.type, raw)
        if field.form == "many":
            result.setdefault(field.name, []).append(value)
        elif field.keep or value not in ("", 0, False, None, {}):
            result[field.name] = value
    return result


def _value(kind: str, raw: Any) -> Any:
    match kind:
        case "text":
            return raw.decode()
        case "number":
            return raw - (1 << 64) if raw >= 1 << 63 else raw
        case "flag":
            return bool(raw)
        case "bytes":
            return base64.b64encode(raw).decode()
        case "time":
            seconds = dict(_fields(raw)).get(1)
            return None if seconds is None else _time(seconds)
        case "port":
            parts = dict(_fields(raw))
            return parts.get(3, b"").decode() if parts.get(1) else parts.get(2, 0)
    return _message(kind, raw)


def _time(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
