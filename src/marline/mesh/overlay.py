"""Tables that are changed without changing them: a copy is made at the first write."""

from collections.abc import Mapping, Set
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Overlay(Generic[K, V]):
    """A mutable view of an immutable table; the table itself stays as it is."""

    def __init__(self, base: Mapping[K, V]) -> None:
        self._table: Mapping[K, V] = base
        self._copy: dict[K, V] | None = None

    def get(self, key: K) -> V | None:
        return self._table.get(key)

    def put(self, key: K, value: V) -> None:
        self._writable()[key] = value

    def drop(self, key: K) -> None:
        if key in self._table:
            del self._writable()[key]

    def _writable(self) -> dict[K, V]:
        if self._copy is None:
            self._copy = dict(self._table)
            self._table = self._copy
        return self._copy

    def table(self) -> Mapping[K, V]:
        """The table as it is now; the overlay must not be written to afterwards."""
        return self._table


class Groups(Generic[K, V]):
    """An overlay over a table of sets, such as a reverse index; empty sets are not kept."""

    def __init__(self, base: Mapping[K, frozenset[V]]) -> None:
        self._base = base
        self._changed: dict[K, set[V]] = {}
        """Mutable until `table`, so that many changes of one set copy it once."""

    def get(self, key: K) -> Set[V]:
        """The set as it is now; not to be kept."""
        found = self._changed.get(key)
        return found if found is not None else self._base.get(key, frozenset())

    def add(self, key: K, member: V) -> None:
        if member not in self.get(key):
            self._writable(key).add(member)

    def remove(self, key: K, member: V) -> None:
        if member in self.get(key):
            self._writable(key).discard(member)

    def _writable(self, key: K) -> set[V]:
        found = self._changed.get(key)
        if found is None:
            found = self._changed[key] = set(self._base.get(key, ()))
        return found

    def table(self) -> Mapping[K, frozenset[V]]:
        """The table as it is now; the groups must not be written to afterwards."""
        overlay = Overlay(self._base)
        for key, members in self._changed.items():
            if members:
                overlay.put(key, frozenset(members))
            else:
                overlay.drop(key)
        return overlay.table()
