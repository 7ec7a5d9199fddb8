"""Values with a text form of their own: durations as protobuf's JSON mapping writes them."""

import re
from typing import Any, Final, Self

_GO_DURATION: Final = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)(?P<unit>ns|us|µs|ms|s|m|h)")
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
MAX_SECONDS: Final = 315_576_000_000.0
"""The largest duration that protobuf's well-known type holds (google/protobuf/duration.proto)."""


class Duration(float):
    """A span of time in seconds, written `1h2m3.5s` as Istio's and the Gateway API's files do."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError with one sentence about the fault."""
        position, total = 0, 0.0
        body = text[1:] if text[:1] in ("+", "-") else text
        while position < len(body):
            found = _GO_DURATION.match(body, position)
            if found is None:
                break
            total += float(found["number"]) * _SECONDS[found["unit"]]
            position = found.end()
        if body == "0":
            return cls(0.0)
        if not body or position != len(body):
            raise ValueError(f"{text!r} is not a duration; write it like '10s', '1.5s', '250ms' or '1h30m'")
        if total > MAX_SECONDS:
            raise ValueError(f"{text!r} is longer than a duration can be")
        return cls(-total if text.startswith("-") else total)

    @classmethod
    def decode(cls, value: Any) -> Self:
        """From a plain JSON value; raises ValueError."""
        if not isinstance(value, str):
            raise ValueError(f"expected a duration such as '10s', found {type(value).__name__} {value!r}")
        return cls.parse(value)

    def __str__(self) -> str:
        return f"{float(self):.9f}".rstrip("0").rstrip(".") + "s"

    def __repr__(self) -> str:
        return f"Duration({str(self)!r})"
