"""With which of its patches a bootstrap is used: those with which Envoy starts. No patch keeps a proxy down.

What Envoy says of a bootstrap is asked before it is started with it. What only shows when it runs, such as an
address that somebody else listens at, ends that one start: the next is made without.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from marline.mesh.model import BootstrapPatches, PatchId
from marline.mesh.patches import Patch

Patches = tuple[Patch, ...]
Refusal = Callable[[Patches], Awaitable[str]]
"""What Envoy says against a bootstrap with these patches; "" if nothing."""

_ENDED: Final = "Envoy ended before it was ready when its bootstrap had this patch; its log says why"


@dataclass(slots=True)
class PatchedStarts:
    """Asked at each start of one Envoy, and told how the last one went."""

    _begun: Patches = ()
    """Those of the start of which nothing is known yet."""
    _fatal: Patches = ()
    """Those of a start that came to an early end."""

    def lived(self) -> None:
        """Envoy has come to serve."""
        self._begun = ()

    async def choose(
        self, patches: Patches, refusal: Refusal, *, failed: bool
    ) -> tuple[Patches, BootstrapPatches]:
        """The patches to start with, and what is to be said of all. `failed`: the process before ended by
        itself."""
        if failed and self._begun:
            self._fatal = self._begun
        sound = tuple(item for item in patches if item not in self._fatal)
        kept, message = await _accepted(sound, refusal)
        self._begun = kept
        refused = [item for item in patches if item not in kept]
        if not message and refused:
            message = _ENDED
        return kept, BootstrapPatches(_ids(kept), _ids(refused), message)


async def _accepted(patches: Patches, refusal: Refusal) -> tuple[Patches, str]:
    """As many as Envoy takes, one resource after the other, and its words on the first that it does not
    take."""
    message = await refusal(patches) if patches else ""
    if not message:
        return patches, ""
    resources = [tuple(group) for _, group in groupby(patches, key=lambda item: item.id.source)]
    kept: Patches = ()
    if len(resources) == 1:
        return kept, message
    message = ""
    for group in resources:
        said = await refusal((*kept, *group))
        kept = kept if said else (*kept, *group)
        message = message or said
    return kept, message


def _ids(patches: Iterable[Patch]) -> tuple[PatchId, ...]:
    return tuple(item.id for item in patches)


def fault_of(output: str) -> str:
    """What an Envoy that was to read a bootstrap says against it, without when and where it says so."""
    critical = [line for line in output.splitlines() if "[critical]" in line] or output.splitlines()[-1:]
    said = critical[0].partition("error initializing configuration ")[2] if critical else ""
    return said.partition("': ")[2] or (critical[0] if critical else "Envoy does not take it")
