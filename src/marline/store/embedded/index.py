"""Objects in memory, found by name, namespace, owner and address without a search."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import msgspec

from marline.api.decode import decode
from marline.api.resource import Ref, Resource

Object = Mapping[str, Any]

_NOTHING: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True)
class Stored:
    """One object at one resourceVersion. `obj` is shared by all readers and never changed."""

    ref: Ref
    rv: int
    obj: Object

    @property
    def metadata(self) -> Mapping[str, Any]:
        metadata: Mapping[str, Any] = self.obj["metadata"]
        return metadata

    @property
    def uid(self) -> str:
        return str(self.metadata["uid"])

    @property
    def labels(self) -> Mapping[str, str]:
        return self.metadata.get("labels") or _NOTHING

    @property
    def deleting(self) -> bool:
        return "deletionTimestamp" in self.metadata

    @cached_property
    def body(self) -> bytes:
        """The JSON text, in the storage version; made once for disk and every reader."""
        return msgspec.json.encode(self.obj)

    @cached_property
    def resource(self) -> Resource[Any]:
        """The typed form; raises `InvalidResource` if the models have changed under a stored object."""
        return decode(self.obj)


class Index:
    """A set of objects. Each change is a constant amount of work."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], dict[str, dict[str, Stored]]] = {}
        self._owned: dict[str, set[Ref]] = {}
        self._addresses: dict[str, Ref] = {}

    def get(self, ref: Ref) -> Stored | None:
        return self._kinds.get((ref.group, ref.kind), {}).get(ref.namespace, {}).get(ref.name)

    def of_kind(self, group: str, kind: str, namespace: str = "") -> list[Stored]:
        """Sorted by namespace and name."""
        spaces = self._kinds.get((group, kind), {})
        chosen = [namespace] if namespace else sorted(spaces)
        return [spaces[space][name] for space in chosen if space in spaces for name in sorted(spaces[space])]

    def in_namespace(self, namespace: str) -> list[Stored]:
        """Every object of any kind in a namespace."""
        return [stored for spaces in self._kinds.values() for stored in spaces.get(namespace, {}).values()]

    def owned_by(self, uid: str) -> list[Stored]:
        """Objects with an ownerReference to this uid."""
        found = (self.get(ref) for ref in sorted(self._owned.get(uid, ())))
        return [stored for stored in found if stored is not None]

    def address_owner(self, address: str) -> Ref | None:
        """The Service or ServiceEntry that holds a virtual address."""
        return self._addresses.get(address)

    def put(self, stored: Stored) -> None:
        self.remove(stored.ref)
        ref = stored.ref
        self._kinds.setdefault((ref.group, ref.kind), {}).setdefault(ref.namespace, {})[ref.name] = stored
        for uid in _owners(stored.obj):
            self._owned.setdefault(uid, set()).add(ref)
        for address in virtual_addresses(ref, stored.obj):
            self._addresses.setdefault(address, ref)

    def remove(self, ref: Ref) -> None:
        spaces = self._kinds.get((ref.group, ref.kind), {})
        stored = spaces.get(ref.namespace, {}).pop(ref.name, None)
        if stored is None:
            return
        if not spaces[ref.namespace]:
            del spaces[ref.namespace]
        for uid in _owners(stored.obj):
            self._owned[uid].discard(ref)
            if not self._owned[uid]:
                del self._owned[uid]
        for address in virtual_addresses(ref, stored.obj):
            if self._addresses.get(address) == ref:
                del self._addresses[address]

    def __iter__(self) -> Iterator[Stored]:
        for spaces in self._kinds.values():
            for names in spaces.values():
                yield from names.values()

    def copy(self) -> "Index":
        index = Index()
        for stored in self:
            index.put(stored)
        return index


def _owners(obj: Object) -> list[str]:
    return [reference["uid"] for reference in obj["metadata"].get("ownerReferences") or ()]


def virtual_addresses(ref: Ref, obj: Object) -> list[str]:
    """The virtual IPs that an object holds: a Service's clusterIPs, a ServiceEntry's allocated ones."""
    if (ref.group, ref.kind) == ("", "Service"):
        spec = obj.get("spec") or {}
        return [ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP")] if ip and ip != "None"]
    if (ref.group, ref.kind) == ("networking.istio.io", "ServiceEntry"):
        addresses = (obj.get("status") or {}).get("addresses") or ()
        return [item["value"] for item in addresses if isinstance(item, Mapping) and item.get("value")]
    return []
