"""Statuses as policies speak of them: those of HTTP that Envoy can answer with, those of gRPC by name."""

from typing import Annotated, Final

from msgspec import Meta

from marline.api.faults import Faults

ErrorStatus = Annotated[int, Meta(ge=400, le=599)]
_UNKNOWN_TO_ENVOY: Final = frozenset({418, 419, 420, 425, 427, 430, 509})
_LAST_OF_CLIENT: Final = 431
_LAST: Final = 511
GRPC_STATUSES: Final = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
    "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
"""In the order of their numbers (grpc.io, "Status codes")."""


def error_status(value: int, faults: Faults) -> None:
    """One of those that Envoy's filters answer with (envoyproxy.io, `type.v3.StatusCode`)."""
    known = value <= _LAST_OF_CLIENT or 500 <= value <= _LAST
    if not known or value in _UNKNOWN_TO_ENVOY:
        faults.add(f"{value} is not a status that Envoy answers with; expected one such as 429 or 503")
