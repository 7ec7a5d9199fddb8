"""What is wrong with a resource, as values: where, what was found, what was expected."""

from dataclasses import dataclass, field
from enum import Enum


class Fault(Enum):
    """Why a field was refused; the reasons are those of a Kubernetes `Status` cause
    (apimachinery's `field.ErrorType`)."""

    UNKNOWN = "FieldValueForbidden"
    TYPE = "FieldValueTypeInvalid"
    REQUIRED = "FieldValueRequired"
    INVALID = "FieldValueInvalid"
    NOT_SUPPORTED = "FieldValueNotSupported"
    """The value is meaningful, but Marline does not act on it, so accepting it would be a lie."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault in one field.

    `path` is the field path as Kubernetes writes it (`spec.http[0].route[1].weight`), `message` one
    sentence that says what was found and what was expected, `suggestion` a likely correction or "".
    `line` and `document` are 1-based and 0 where the text is not at hand.
    """

    path: str
    message: str
    fault: Fault = Fault.INVALID
    suggestion: str = ""
    file: str = ""
    document: int = 0
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file else f"line {self.line}"
        document = f" (document {self.document})" if self.document > 1 else ""
        where = f"{place}{document}: " if self.line else ""
        hint = f" (did you mean {self.suggestion!r}?)" if self.suggestion else ""
        return f"{where}{self.path}: {self.message}{hint}"


@dataclass(eq=False)
class InvalidResource(Exception):
    """A resource that is refused, with every fault found in it."""

    what: str
    """The resource as a user would name it, such as `VirtualService default/reviews`."""
    errors: tuple[FieldError, ...] = field(default=())

    def __str__(self) -> str:
        return "\n".join([f"{self.what} is not valid:", *(f"  {error}" for error in self.errors)])
