"""What one proxy should have: its resources by type and name, and which unit each came from."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from marline.compile.resource import MAKE_ORDER, Blob
from marline.compile.units import Unit
from marline.mesh.model import PatchId

Key = tuple[str, str]
"""Type and name of a resource."""


def _by_type() -> dict[str, dict[str, Blob]]:
    return {type_url: {} for type_url in MAKE_ORDER}


@dataclass(slots=True)
class View:
    """Kept current unit by unit; a `Session` brings its proxy to it."""

    resources: dict[str, dict[str, Blob]] = field(default_factory=_by_type)
    patches: frozenset[PatchId] = frozenset()
    """Those that are in some of its resources."""
    _patched: Counter[PatchId] = field(default_factory=Counter)
    """In how many."""
    _units: dict[Unit, tuple[Blob, ...]] = field(default_factory=dict)

    def get(self, type_url: str, name: str) -> Blob | None:
        return self.resources[type_url].get(name)

    def replace(self, units: Mapping[Unit, Iterable[Blob]]) -> tuple[Key, ...]:
        """Put what these units now consist of in the place of what they did; a unit of nothing is gone.
        Returns what differs."""
        before: dict[Key, Blob | None] = {}
        made = {unit: tuple(blobs) for unit, blobs in units.items()}
        for unit in made:
            for blob in self._units.pop(unit, ()):
                self._patched.subtract(blob.patches)
                if blob.is_removed:
                    continue
                before[blob.type_url, blob.name] = self.resources[blob.type_url].pop(blob.name, None)
        for unit, blobs in made.items():
            if blobs:
                self._units[unit] = blobs
            for blob in blobs:
                self._patched.update(blob.patches)
                if blob.is_removed:
                    continue
                before.setdefault((blob.type_url, blob.name), self.get(blob.type_url, blob.name))
                self.resources[blob.type_url][blob.name] = blob
        if self._patched:
            self._patched = +self._patched
            if self._patched.keys() != self.patches:
                self.patches = frozenset(self._patched)
        return tuple(key for key, old in before.items() if _version(old) != _version(self.get(*key)))


def _version(blob: Blob | None) -> str:
    return "" if blob is None else blob.version
