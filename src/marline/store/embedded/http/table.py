"""What `kubectl get` prints comes from the server, as a table.

Source: kubernetes.io, "API Concepts", "Receiving resources as Tables".
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from marline.api.registry import Column, Kind
from marline.store.embedded.http.target import Served
from marline.store.spans import human_duration

IncludeObject = Literal["None", "Metadata", "Object"]

_STEP: Final = re.compile(
    r"(?P<name>[A-Za-z0-9_-]+)|\[\?\(@\.(?P<key>\w+)==['\"](?P<value>[^'\"]*)['\"]\)\]|(?P<all>\[\*\])|\."
)
_NAME_COLUMN: Final = {
    "name": "Name", "type": "string", "format": "name", "priority": 0,
    "description": "Name must be unique within a namespace.",
}  # fmt: skip
_AGE_COLUMN: Final = {
    "name": "Age", "type": "string", "format": "", "priority": 0,
    "description": "Time since the object was created.",
}  # fmt: skip


def columns(kind: Kind) -> list[dict[str, Any]]:
    """The definitions of a kind's columns: the name, its own, the age."""
    usual, wide = ([_definition(column) for column in part] for part in _columns(kind))
    return [*usual, *wide] if _is_event(kind) else [_NAME_COLUMN, *usual, _AGE_COLUMN, *wide]


def _columns(kind: Kind) -> tuple[list[Column], list[Column]]:
    """A kind's own columns: those that are always shown, and those of `-o wide`, which come last."""
    usual = [column for column in kind.columns if not column.wide]
    return usual, [column for column in kind.columns if column.wide]


def _definition(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": "integer" if column.type == "integer" else "string",
        "format": "",
        "priority": 1 if column.wide else 0,
        "description": column.path,
    }


def _is_event(kind: Kind) -> bool:
    """Events have no names that anyone reads, and say when they were last seen instead of their age."""
    return (kind.group, kind.kind) == ("", "Event")


def row(served: Served, obj: Mapping[str, Any], now: datetime, include: IncludeObject) -> dict[str, Any]:
    kind = served.kind
    usual, wide = ([_cell(kind, column, obj, now) for column in part] for part in _columns(kind))
    metadata = obj["metadata"]
    created = age(str(metadata.get("creationTimestamp") or ""), now)
    cells = [*usual, *wide] if _is_event(kind) else [metadata["name"], *usual, created, *wide]
    result: dict[str, Any] = {"cells": cells}
    if include == "Object":
        result["object"] = served.shown(obj)
    elif include == "Metadata":
        result["object"] = partial(obj)
    return result


def partial(obj: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def table(
    kind: Kind, rows: Sequence[Mapping[str, Any]], metadata: Mapping[str, Any], *, headers: bool = True
) -> dict[str, Any]:
    """Without `headers` in the later events of a watch, as kube-apiserver does."""
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": dict(metadata),
        "columnDefinitions": columns(kind) if headers else [],
        "rows": list(rows),
    }


def age(time: str, now: datetime) -> str:
    """A time as kubectl says how long ago it was: `45s`, `5m10s`, `3h`, `12d`."""
    if not time:
        return "<unknown>"
    return human_duration((now - datetime.fromisoformat(time)).total_seconds())


def _cell(kind: Kind, column: Column, obj: Mapping[str, Any], now: datetime) -> Any:
    found = _find(obj, column.path)
    value = found[0] if len(found) == 1 else (found or None)
    special = _SPECIAL.get((kind.group, kind.kind, column.path))
    if special:
        return special(value)
    if column.type == "date":
        return age(str(value or obj["metadata"].get("creationTimestamp") or ""), now)
    if column.type == "integer":
        return len(value) if isinstance(value, Mapping | list) else int(value or 0)
    return _text(value)


def _text(value: Any) -> str:
    if value in (None, "", [], {}):
        return ""
    if isinstance(value, list):
        return "[" + ",".join(f'"{item}"' if isinstance(item, str) else _text(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return ",".join(f"{key}={item}" for key, item in value.items())
    return str(value)


def _find(value: Any, path: str) -> list[Any]:
    """The values at a path: names, `[*]`, and `[?(@.type=='Ready')]`."""
    values = [value]
    for step in _STEP.finditer(path):
        if step["name"]:
            values = [
                item[step["name"]] for item in values if isinstance(item, Mapping) and step["name"] in item
            ]
        elif step["all"]:
            values = [part for item in values if isinstance(item, list) for part in item]
        elif step["key"]:
            values = [
                part
                for item in values
                if isinstance(item, list)
                for part in item
                if isinstance(part, Mapping) and part.get(step["key"]) == step["value"]
            ]
    return values


def _service_ports(ports: Any) -> str:
    return ",".join(f"{port['port']}/{port.get('protocol', 'TCP')}" for port in ports or ()) or "<none>"


def _slice_ports(ports: Any) -> str:
    return ",".join(str(port.get("port", "*")) for port in ports or ()) or "<unset>"


def _slice_endpoints(endpoints: Any) -> str:
    addresses = [address for endpoint in endpoints or () for address in endpoint.get("addresses") or ()]
    more = f" + {len(addresses) - 3} more..." if len(addresses) > 3 else ""
    return ",".join(addresses[:3]) + more if addresses else "<unset>"


def _reference(reference: Any) -> str:
    return f"{str(reference.get('kind', '')).lower()}/{reference.get('name', '')}" if reference else ""


def _or_none(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else _text(value) or "<none>"


def _role(reference: Any) -> str:
    return f"{reference['kind']}/{reference['name']}" if reference else ""


_SPECIAL: Final = {
    ("rbac.authorization.k8s.io", "RoleBinding", "roleRef"): _role,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", "roleRef"): _role,
    ("", "Service", "spec.ports"): _service_ports,
    ("", "Service", "spec.externalIPs"): _or_none,
    ("", "Service", "spec.clusterIP"): _or_none,
    ("", "Service", "spec.selector"): _or_none,
    ("", "Event", "involvedObject"): _reference,
    ("discovery.k8s.io", "EndpointSlice", "ports"): _slice_ports,
    ("discovery.k8s.io", "EndpointSlice", "endpoints"): _slice_endpoints,
}
"""Cells that kubectl's users know in another form than the field's own."""
