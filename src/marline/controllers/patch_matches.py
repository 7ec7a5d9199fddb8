"""Patches that match nothing: told in the status of the resource that they stand in.

What a proxy is given says which patches are in it. As long as no connected proxy is given anything with a
patch, the condition `Matched` of its resource is False and names it; else it is True.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from marline.api.resource import Ref, Resource
from marline.mesh.model import PatchId
from marline.mesh.patches import ENVOY_FILTER
from marline.mesh.plugins import WASM_PLUGIN

CONDITION: Final = "Matched"
PATCHING: Final = (ENVOY_FILTER, WASM_PLUGIN)
"""The kinds that are patches."""


@dataclass(slots=True)
class PatchMatches:
    """Fed with what proxies are given; yields the resources of which something is said anew."""

    _of_proxy: dict[str, frozenset[PatchId]] = field(default_factory=dict)
    _proxies: Counter[PatchId] = field(default_factory=Counter)
    """How many proxies have each."""

    def given(self, node_id: str, patches: frozenset[PatchId]) -> frozenset[Ref]:
        """These, and no others, are now in what a proxy is given."""
        before = self._of_proxy.pop(node_id, frozenset())
        if patches:
            self._of_proxy[node_id] = patches
        begun = [item for item in patches - before if not self._proxies[item]]
        self._proxies.update(patches - before)
        self._proxies.subtract(before - patches)
        ended = [item for item in before - patches if not self._proxies[item]]
        for item in ended:
            del self._proxies[item]
        return frozenset(item.source for item in (*begun, *ended))

    def condition(self, resource: Resource[Any]) -> dict[str, Any]:
        """The condition to write, without its time of transition."""
        unmatched = [
            what
            for index, what in enumerate(_patches(resource))
            if PatchId(resource.ref, index) not in self._proxies
        ]
        if not unmatched:
            return {"type": CONDITION, "status": "True", "reason": "Matched", "message": ""}
        message = f"matches nothing of any connected proxy: {', '.join(unmatched)}"
        if any("BOOTSTRAP" in what for what in unmatched):
            message += "; a bootstrap is patched when its proxy starts"
        return {"type": CONDITION, "status": "False", "reason": "NothingMatched", "message": message}


def _patches(resource: Resource[Any]) -> Iterable[str]:
    if (resource.group, resource.kind) == WASM_PLUGIN:
        yield "the plugin"
        return
    for index, item in enumerate(resource.spec.config_patches):
        yield f"configPatches[{index}] ({item.apply_to} {item.patch.operation})"
