"""Tables that are changed without changing them: a copy is made at the first write."""

from collections.abc import Mapping
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
        self._overlay: Overlay[K, frozenset[V]] = Overlay(base)

    def get(self, key: K) -> frozenset[V]:
        return self._overlay.get(key) or frozenset()

    def add(self, key: K, member: V) -> None:
        known = self.get(key)
        if member not in known:
            self._overlay.put(key, known | {member})

    def remove(self, key: K, member: V) -> None:
        left = self.get(key) - {member}
        if left:
            self._overlay.put(key, left)
        else:
            self._overlay.drop(key)

    def table(self) -> Mapping[K, frozenset[V]]:
        return self._overlay.table()
