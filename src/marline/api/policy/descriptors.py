"""What requests are counted as, in words that the proxies' routes and the rate-limit service share.

Each descriptor of a request says which limit it is for and how much of it is allowed, so that the service
need not know of any resource (envoyproxy.io, `RateLimitDescriptor`).
"""

from dataclasses import dataclass
from typing import Final, Self

LIMIT: Final = "limit"
"""`<namespace>/<policy>/<limit>`."""
QUOTA: Final = "quota"
CALLER_NAMESPACE: Final = "caller_namespace"
"""Its value is the caller's whole SPIFFE ID, of which the service counts the namespace."""
_SHADOW: Final = "shadow"


@dataclass(frozen=True, slots=True)
class Quota:
    """So many requests in so many seconds."""

    requests: int
    seconds: int
    shadow: bool = False
    """Nothing is refused: who asks only wants to know."""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """From `<requests>/<seconds>[/shadow]`, or None if it is not that."""
        requests, _, rest = text.partition("/")
        seconds, _, mode = rest.partition("/")
        if not (requests.isdecimal() and seconds.isdecimal() and mode in ("", _SHADOW)) or not int(seconds):
            return None
        return cls(int(requests), int(seconds), mode == _SHADOW)

    def __str__(self) -> str:
        return f"{self.requests}/{self.seconds}{f'/{_SHADOW}' if self.shadow else ''}"
