"""Where hits are counted: what the server expects of memory and of Redis alike."""

from typing import Protocol

from marline.ratelimit.windows import Question


class CountersUnavailable(Exception):
    """They do not answer; the message says why."""


class Counters(Protocol):
    """Shared by all requests."""

    async def add(self, questions: list[Question], now: float) -> list[int]:
        """Count the hits of one request, and say how many there have been in each window. Raises
        `CountersUnavailable`."""
        ...
