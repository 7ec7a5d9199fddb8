"""Who owns which field, and server-side apply (kubernetes.io, "Server-Side Apply").

Pure: objects and the entries of `metadata.managedFields` in, the same out. An update takes the fields
that it changes; an apply takes the fields that it names, and must not change what another owns.
"""

import copy
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import msgspec

from marline.store import field_set
from marline.store.field_set import NOTHING, UNOWNED, Field, FieldSet
from marline.store.list_types import Path, Types

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
CLIENT_SIDE: Final = "kubectl-client-side-apply"


class Manager(NamedTuple):
    """Who writes: entries of `managedFields` are told apart by all of these, but whoever applies is the
    same in every API version (kube-apiserver's `BuildManagerIdentifier`)."""

    name: str
    operation: Literal["Apply", "Update"]
    api_version: str
    subresource: str = ""

    def __str__(self) -> str:
        where = (
            f" with subresource {msgspec.json.encode(self.subresource).decode()}" if self.subresource else ""
        )
        return f"{msgspec.json.encode(self.name).decode()}{where} using {self.api_version}"

    def is_applier(self, other: "Manager") -> bool:
        return self._replace(api_version="") == other._replace(api_version="", operation="Apply")


@dataclass(frozen=True, slots=True)
class Owned:
    fields: FieldSet
    time: str


Managers = dict[Manager, Owned]


@dataclass(eq=False)
class FieldConflict(Exception):
    """An apply would change fields that others own; sorted by manager and field."""

    conflicts: tuple[tuple[Manager, Field], ...]

    def __str__(self) -> str:
        count = len(self.conflicts)
        by_manager: dict[Manager, list[str]] = {}
        for manager, field in self.conflicts:
            by_manager.setdefault(manager, []).append(field_set.readable(field))
        if len(by_manager) == 1 and count == 1:
            ((manager, fields),) = by_manager.items()
            return f"Apply failed with 1 conflict: conflict with {manager}: {fields[0]}"
        parts = [
            f"conflict{'s' if len(fields) > 1 else ''} with {manager}:\n"
            + "\n".join(f"- {field}" for field in fields)
            for manager, fields in by_manager.items()
        ]
        return f"Apply failed with {count} conflicts: " + "\n".join(parts)


def read(metadata: Mapping[str, Any]) -> Managers:
    """From `metadata.managedFields`; raises ValueError for what is not as the API defines it."""
    managers: Managers = {}
    for entry in metadata.get("managedFields") or ():
        if not entry:
            continue
        operation = entry.get("operation")
        if operation not in ("Apply", "Update") or entry.get("fieldsType", "FieldsV1") != "FieldsV1":
            raise ValueError(
                "an entry of managedFields has operation Apply or Update and fieldsType FieldsV1"
            )
        manager = Manager(
            str(entry.get("manager", "")), operation, str(entry.get("apiVersion", "")),
            str(entry.get("subresource", "")),
        )  # fmt: skip
        fields = field_set.decode(entry.get("fieldsV1") or {})
        known = managers.get(manager)
        managers[manager] = Owned(fields | known.fields if known else fields, str(entry.get("time", "")))
    return managers


def write(managers: Managers) -> list[dict[str, Any]]:
    """As `metadata.managedFields`: applies first, then by age, as kube-apiserver sorts them."""
    entries = []
    order = sorted(managers.items(), key=lambda item: (item[0].operation, item[1].time, item[0]))
    for manager, owned in order:
        if owned.fields:
            entry = {
                "manager": manager.name,
                "operation": manager.operation,
                "apiVersion": manager.api_version,
                "time": owned.time,
                "fieldsType": "FieldsV1",
                "fieldsV1": field_set.encode(owned.fields),
            }
            entries.append(entry | ({"subresource": manager.subresource} if manager.subresource else {}))
    return entries


def updated(
    managers: Managers,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    manager: Manager,
    types: Types,
    now: str,
) -> Managers:
    """The owners after `manager` has made `new` of `old`."""
    changed, removed = field_set.compare(old, new, types)
    if not changed and not removed:
        return managers
    result: Managers = {}
    for other, owned in managers.items():
        left = owned.fields - removed if other == manager else owned.fields - changed - removed
        if left:
            result[other] = Owned(left, owned.time)
    if changed:
        mine = result[manager].fields if manager in result else NOTHING
        result[manager] = Owned(mine | changed, now)
    return result


def applied(
    managers: Managers,
    live: Mapping[str, Any],
    config: Mapping[str, Any],
    manager: Manager,
    types: Types,
    now: str,
    *,
    force: bool,
) -> tuple[dict[str, Any], Managers]:
    """The object and the owners after `manager` has applied `config`; raises `FieldConflict`."""
    wanted = field_set.fields_of(config, types)
    merged = merge(live, config, types)
    others = {other: owned for other, owned in managers.items() if not other.is_applier(manager)}
    changed = frozenset[Field]().union(*field_set.compare(live, merged, types))
    conflicts = [
        (other, field) for other, owned in sorted(others.items()) for field in sorted(owned.fields & changed)
    ]
    if conflicts and not force and not _takes_over_from_client_side(live, manager, conflicts, types):
        raise FieldConflict(tuple(conflicts))
    others = {
        other: Owned(owned.fields - changed if changed & owned.fields else owned.fields, owned.time)
        for other, owned in others.items()
    }
    before = next((owned for other, owned in managers.items() if other.is_applier(manager)), None)
    if before:
        kept = frozenset().union(wanted, *(owned.fields for owned in others.values()))
        kept_prefixes = {field[:length] for field in kept for length in range(1, len(field) + 1)}
        for field in sorted(before.fields - wanted):
            if field not in kept_prefixes:
                remove(merged, field, kept_prefixes)
    same = before is not None and before.fields == wanted
    result = {other: owned for other, owned in others.items() if owned.fields}
    result[manager] = Owned(wanted, before.time if same and before else now)
    return merged, result


def _takes_over_from_client_side(
    live: Mapping[str, Any], manager: Manager, conflicts: list[tuple[Manager, Field]], types: Types
) -> bool:
    """`kubectl apply --server-side` may change what `kubectl apply` wrote: both are the same user's
    configuration (kubernetes.io, "Server-Side Apply", migration)."""
    text = (live.get("metadata") or {}).get("annotations", {}).get(LAST_APPLIED)
    if manager.name != "kubectl" or not text:
        return False
    try:
        mine = field_set.fields_of(msgspec.json.decode(text), types)
    except msgspec.DecodeError:
        return False
    return all(field in mine and other.name == CLIENT_SIDE for other, field in conflicts)


def merge(live: Any, config: Any, types: Types, path: Path = ()) -> Any:
    """`live` with everything that `config` says; neither is changed."""
    if isinstance(config, Mapping) and isinstance(live, Mapping):
        if field_set.children(config, types, path) is None:
            return copy.deepcopy(config)
        result = dict(live)
        for key, value in config.items():
            result[key] = merge(live.get(key), value, types, (*path, key))
        return result
    if isinstance(config, list) and isinstance(live, list):
        have = field_set.items_of(live, types.get(path))
        new = field_set.items_of(config, types.get(path))
        if have is not None and new is not None:
            merged = have | {step: merge(have.get(step), item, types, path) for step, item in new.items()}
            return list(merged.values())
    return copy.deepcopy(config)


def remove(obj: dict[str, Any], field: Field, kept: Set[Field]) -> None:
    """Remove a field from an object in place. Containers on the way are copied, since `merge` shares
    them with the live object; those that become empty go too, unless they are `kept`."""
    if field not in UNOWNED:
        _remove(obj, field, 0, kept)


def _remove(container: Any, field: Field, depth: int, kept: Set[Field]) -> None:
    prefix, _, rest = field[depth].partition(":")
    if prefix == "f" and isinstance(container, dict):
        key: Any = rest
        if key not in container:
            return
    elif isinstance(container, list) and prefix in ("k", "v"):
        found = _place(container, prefix, rest)
        if found is None:
            return
        key = found
    else:
        return
    if depth + 1 < len(field):
        container[key] = copy.copy(container[key])
        _remove(container[key], field, depth + 1, kept)
        if container[key] or field[: depth + 1] in kept:
            return
    del container[key]


def _place(items: list[Any], prefix: str, rest: str) -> int | None:
    wanted = msgspec.json.decode(rest)
    for index, item in enumerate(items):
        if prefix == "v" and item == wanted:
            return index
        if prefix == "k" and isinstance(item, Mapping):
            defaults = {"protocol": "TCP"}
            if all(item.get(key, defaults.get(key)) == value for key, value in wanted.items()):
                return index
    return None


def last_applied(config: Mapping[str, Any]) -> str:
    """A configuration as `kubectl apply` records it in an annotation: without the record itself."""
    metadata = dict(config["metadata"])
    annotations = {
        key: value for key, value in (metadata.get("annotations") or {}).items() if key != LAST_APPLIED
    }
    metadata.pop("managedFields", None)
    recorded = {**config, "metadata": {**metadata, "annotations": annotations}}
    return msgspec.json.encode(recorded, order="sorted").decode() + "\n"
