"""Which lists of an object are more than one value, for server-side apply and strategic merge patches.

A list that is named here is merged item by item: a map by its keys, or a set. All others are atomic:
who writes one writes all of it. Those of the core kinds are as in Kubernetes' OpenAPI, those of the
Gateway API as in its CRDs; Istio's CRDs have none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class ListMap:
    """A list that is a map by some fields of its items; `defaults` stand in for absent ones."""

    keys: tuple[str, ...]
    defaults: tuple[tuple[str, Any], ...] = ()
    patch_key: str = ""
    """The one key that strategic merge patches use, if they merge this list at all."""

    def key_of(self, item: Any) -> tuple[tuple[str, Any], ...] | None:
        """What tells this item from its neighbours, or None if the item lacks a key."""
        if not isinstance(item, Mapping):
            return None
        defaults = dict(self.defaults)
        if any(key not in item and key not in defaults for key in self.keys):
            return None
        return tuple((key, item.get(key, defaults.get(key))) for key in self.keys)


@dataclass(frozen=True, slots=True)
class ListSet:
    """A list of distinct scalars."""


@dataclass(frozen=True, slots=True)
class AtomicMap:
    """A map that is one value."""


Type = ListMap | ListSet | AtomicMap
Path = tuple[str, ...]
Types = Mapping[Path, Type]
"""By field path, without indexes: the items of `spec.ports` have paths below `("spec", "ports")`."""

_METADATA: Final[Types] = {
    ("metadata", "ownerReferences"): ListMap(("uid",), patch_key="uid"),
    ("metadata", "finalizers"): ListSet(),
    ("status", "conditions"): ListMap(("type",), patch_key="type"),
}
_SERVICE: Final[Types] = {
    ("spec", "ports"): ListMap(("port", "protocol"), (("protocol", "TCP"),), patch_key="port"),
    ("spec", "selector"): AtomicMap(),
}
_GATEWAY: Final[Types] = {
    ("spec", "listeners"): ListMap(("name",)),
    ("status", "listeners"): ListMap(("name",)),
    ("status", "listeners", "conditions"): ListMap(("type",)),
}
_EVENT: Final[Types] = {("involvedObject",): AtomicMap(), ("related",): AtomicMap()}
_OF_KIND: Final[Mapping[tuple[str, str], Types]] = {
    ("", "Service"): {**_METADATA, **_SERVICE},
    ("", "Event"): {**_METADATA, **_EVENT},
    ("gateway.networking.k8s.io", "Gateway"): {**_METADATA, **_GATEWAY},
}


def list_types(group: str, kind: str) -> Types:
    return _OF_KIND.get((group, kind), _METADATA)


def strategic(group: str) -> bool:
    """Whether this group's kinds take strategic merge patches: built-in ones do, CRDs do not."""
    return group in ("", "discovery.k8s.io", "events.k8s.io", "rbac.authorization.k8s.io")
