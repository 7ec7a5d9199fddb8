"""When a certificate is asked for: a state machine of one SVID, without clock, chance or I/O.

It starts by asking. Signed: in use at once, and asked for again at half of its life. Refused or unanswered:
asked again after a while that doubles, while the last good one stays in use, even beyond its end (a peer
judges that). Both times are spread, so that workloads started together do not ask together.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from marline.identity.certificates import CLOCK_SKEW_SECONDS

RENEW_AT: Final = 0.5
"""Part of its life after which an SVID is renewed, as in SPIRE; the other half is for an absent authority."""
JITTER: Final = 0.1
"""How much earlier, at most, as part of its life."""
FIRST_RETRY_SECONDS: Final = 0.5
MAX_RETRY_SECONDS: Final = 60.0
MAX_URGENT_RETRY_SECONDS: Final = 2.0
"""While there is no valid SVID, nothing works, so it is asked for more often."""
_PARTS_OF_THE_REST: Final = 8
"""While there is one, it is asked for at least so often before it ends."""


class Effect(Enum):
    """What the shell is to do."""

    SIGN = "make a key and have it signed"
    DELIVER = "put the signed SVID to use"
    REPORT_EXPIRY = "say that the SVID in use has expired"


class Phase(Enum):
    WAITING = "waiting"
    SIGNING = "signing"


@dataclass(slots=True)
class Rotation:
    """Every method takes the time (Unix seconds) and returns what to do, in order. The shell calls `tick`
    no later than `wake_at`; earlier is harmless."""

    random: Callable[[], float]
    """Uniform in [0, 1)."""
    phase: Phase = Phase.WAITING
    wake_at: float | None = 0.0
    """None while an answer is awaited and no SVID can expire meanwhile."""
    expires_at: float | None = None
    """When the SVID in use ends; None without one."""
    failures: int = 0
    """Since the last success."""
    _next_sign: float = 0.0
    _signed_at: float = 0.0
    _expiry_reported: bool = field(default=False)
    _hurried: bool = field(default=False)
    """The answer that is awaited may be of an authority that is not the newest."""

    def valid(self, now: float) -> bool:
        """Whether there is an SVID that a peer accepts."""
        return self.expires_at is not None and now < self.expires_at

    def tick(self, now: float) -> tuple[Effect, ...]:
        """Time has passed."""
        effects: list[Effect] = []
        if self.expires_at is not None and now >= self.expires_at and not self._expiry_reported:
            self._expiry_reported = True
            effects.append(Effect.REPORT_EXPIRY)
        # A clock set back may have left the SVID in the future, where no peer accepts it.
        clock_set_back = self.failures == 0 and now < self._signed_at - CLOCK_SKEW_SECONDS
        if self.phase is Phase.WAITING and (now >= self._next_sign or clock_set_back):
            self.phase = Phase.SIGNING
            effects.append(Effect.SIGN)
        self._set_wake()
        return tuple(effects)

    def hurry(self, now: float) -> None:
        """The SVID in use is to be replaced now, or as soon as what is under way is done."""
        self._next_sign = min(self._next_sign, now)
        self._hurried = self.phase is Phase.SIGNING
        self._set_wake()

    def signed(self, now: float, not_after: float) -> tuple[Effect, ...]:
        """The authority has answered with an SVID that ends at `not_after`."""
        life = max(not_after - now, 0.0)
        early = life * JITTER * self.random()
        # Also one that is born expired (its authority's clock is wrong) is not asked for in a loop.
        self._next_sign = now + max(life * RENEW_AT - early, FIRST_RETRY_SECONDS)
        if self._hurried:
            self._next_sign, self._hurried = now, False
        self._signed_at = now
        self.phase = Phase.WAITING
        self.expires_at = not_after
        self.failures = 0
        self._expiry_reported = False
        self._set_wake()
        return (Effect.DELIVER,)

    def failed(self, now: float) -> tuple[Effect, ...]:
        """No SVID this time."""
        self.failures += 1
        self.phase = Phase.WAITING
        delay = FIRST_RETRY_SECONDS * 2.0 ** min(self.failures - 1, 16)
        # "Equal jitter": at least half of the delay, so that a struggling authority is left alone.
        delay = min(delay, self._longest_delay(now)) * (0.5 + 0.5 * self.random())
        self._next_sign = now + delay
        self._set_wake()
        return ()

    def _longest_delay(self, now: float) -> float:
        if self.expires_at is None or now >= self.expires_at:
            return MAX_URGENT_RETRY_SECONDS
        rest = (self.expires_at - now) / _PARTS_OF_THE_REST
        return min(max(rest, FIRST_RETRY_SECONDS), MAX_RETRY_SECONDS)

    def _set_wake(self) -> None:
        times = [] if self.phase is Phase.SIGNING else [self._next_sign]
        if self.expires_at is not None and not self._expiry_reported:
            times.append(self.expires_at)
        self.wake_at = min(times, default=None)
