"""What a proxy refuses of one type, and the search for it: a rejection is of a whole response.

Halves of a rejected response are sent to find out whose fault it was; whatever is not at fault arrives.
"""

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from marline.compile.resource import Blob


@dataclass(slots=True)
class Refusals:
    """Names stand for resources throughout."""

    tried_again: bool
    """A resource of this type may be refused on account of another. No two virtual hosts of a table have a
    domain in common, so one that takes over a domain has to wait for the one that gives it up."""
    refused: dict[str, Blob] = field(default_factory=dict)
    """What it would not take; not sent again as long as it is the same."""
    _suspects: deque[tuple[str, ...]] = field(default_factory=deque)
    """Groups of names, one of which may be why a response was rejected; each is sent alone."""
    _doubtful: set[str] = field(default_factory=set)
    """Refused, perhaps on account of others that have changed since; to be tried once more."""
    _retrying: set[str] = field(default_factory=set)

    def refuses(self, name: str, blob: Blob) -> bool:
        refused = self.refused.get(name)
        return refused is not None and refused.version == blob.version and name not in self._retrying

    def search(self, names: tuple[str, ...]) -> None:
        """One of these was refused; the first half of them is sent next."""
        middle = len(names) // 2
        self._suspects.extendleft((names[middle:], names[:middle]))

    def blame(self, name: str, blob: Blob, *, came_with_others: bool) -> None:
        """It was sent alone, and refused."""
        self.refused[name] = blob
        if name in self._retrying:
            self._retrying.discard(name)
        elif self.tried_again and came_with_others:
            self._doubtful.add(name)

    def next_group(self, todo: dict[str, Blob]) -> dict[str, Blob]:
        """What of this is to be sent together: all, unless the search is on."""
        while self._suspects:
            group = {name: todo[name] for name in self._suspects.popleft() if name in todo}
            if group:
                return group
        return todo

    def try_again(self, *, everything: bool = False) -> Collection[str]:
        """What is worth another attempt, now that there is nothing else to send."""
        names = frozenset(self.refused if everything else self._doubtful)
        self._retrying |= names
        self._doubtful.clear()
        return names

    def changed(self, name: str, now: Blob | None) -> bool:
        """There is another version, or none. Returns whether that ends a refusal."""
        self._doubtful.discard(name)
        self._retrying.discard(name)
        refused = self.refused.get(name)
        if refused is None or (now is not None and now.version == refused.version):
            return False
        return bool(self.end([name]))

    def end(self, names: Iterable[str]) -> list[str]:
        """These were taken, have changed or are not wanted. Returns which of them had been refused."""
        ended = [name for name in names if self.refused.pop(name, None) is not None]
        self._doubtful.difference_update(ended)
        self._retrying.difference_update(ended)
        if ended and self.tried_again:
            self._doubtful.update(self.refused)
        return ended
