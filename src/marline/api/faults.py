"""A place to collect what is wrong while walking an object: field paths, messages, suggestions."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

from marline.api.errors import Fault, FieldError


@dataclass(frozen=True, slots=True)
class Faults:
    """Errors found so far, and where in the object we are.

    `at` and `item` give the same collector one step further down, so a validator never builds paths.
    """

    path: str = ""
    errors: list[FieldError] = field(default_factory=list)

    def at(self, name: str) -> "Faults":
        return Faults(f"{self.path}.{name}" if self.path else name, self.errors)

    def item(self, index: int) -> "Faults":
        return Faults(f"{self.path}[{index}]", self.errors)

    def key(self, key: str) -> "Faults":
        return Faults(f"{self.path}[{key}]", self.errors)

    def add(self, message: str, fault: Fault = Fault.INVALID, suggestion: str = "") -> None:
        self.errors.append(FieldError(self.path or "(root)", message, fault, suggestion))

    def require(self, condition: object, message: str) -> bool:
        if not condition:
            self.add(message)
        return bool(condition)

    def required(self, value: object, name: str) -> bool:
        """A field that must be there and not empty."""
        if value in (None, "", (), {}):
            self.at(name).add("is required", Fault.REQUIRED)
            return False
        return True

    def unsupported(self, message: str) -> None:
        self.add(message, Fault.NOT_SUPPORTED)


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that `word` is most likely a misspelling of, or ""."""
    candidates = list(known)
    by_fold = {candidate.lower(): candidate for candidate in candidates}
    folded = word.lower().replace("_", "").replace("-", "")
    if folded in by_fold:
        return by_fold[folded]
    close = difflib.get_close_matches(word.lower(), by_fold, n=1, cutoff=0.7)
    return by_fold[close[0]] if close else ""
