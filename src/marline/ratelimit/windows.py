"""Fixed windows: so many hits in each second, minute, hour or day, counted from the epoch. Pure.

As in the reference implementation (github.com/envoyproxy/ratelimit): a window begins at a multiple of its
length, and up to twice the limit may come within one length around the moment at which one ends.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from envoy.extensions.common.ratelimit.v3 import ratelimit_pb2
from envoy.service.ratelimit.v3 import rls_pb2

from marline.api.policy.descriptors import CALLER_NAMESPACE, QUOTA, Quota


class Count(NamedTuple):
    """What is counted together: what a request is counted as, in one window."""

    key: str
    window: int
    """The second, from the epoch, with which it begins."""
    seconds: int


@dataclass(frozen=True, slots=True)
class Question:
    """One descriptor of a request."""

    count: Count
    quota: Quota
    hits: int


def question(descriptor: ratelimit_pb2.RateLimitDescriptor, hits: int, now: float) -> Question | None:
    """What a descriptor asks; None if it names no quota, which is no limit of Marline's."""
    quota, parts = None, []
    for entry in descriptor.entries:
        if entry.key == QUOTA:
            quota = Quota.parse(entry.value)
        else:
            value = namespace_of(entry.value) if entry.key == CALLER_NAMESPACE else entry.value
            # Lengths keep apart what would be one text: a value may have any character.
            parts.append(f"{entry.key}={len(value)}:{value}")
    if quota is None:
        return None
    window = int(now) // quota.seconds * quota.seconds
    return Question(Count("|".join(parts), window, quota.seconds), quota, hits)


def namespace_of(spiffe_id: str) -> str:
    """`spiffe://<trust domain>/ns/<namespace>/sa/<service account>` → `<trust domain>/<namespace>`; what is
    no such ID stays as it is."""
    parts = spiffe_id.removeprefix("spiffe://").split("/")
    if spiffe_id.startswith("spiffe://") and len(parts) == 5 and (parts[1], parts[3]) == ("ns", "sa"):
        return f"{parts[0]}/{parts[2]}"
    return spiffe_id


def answer(questions: list[Question | None], totals: list[int], now: float) -> rls_pb2.RateLimitResponse:
    """The response for the questions of one request, and what has been counted for those that are not None,
    with this request."""
    kind = rls_pb2.RateLimitResponse
    made = kind(overall_code=kind.OK)
    counted = iter(totals)
    wait = 0
    for asked in questions:
        status = made.statuses.add(code=kind.OK)
        if asked is None:
            continue
        total, quota = next(counted), asked.quota
        reset = asked.count.window + quota.seconds - int(now)
        status.current_limit.requests_per_unit = quota.requests
        status.current_limit.unit = _UNITS[quota.seconds]
        status.limit_remaining = max(0, quota.requests - total)
        status.duration_until_reset.seconds = reset
        if total > quota.requests:
            status.code = made.overall_code = kind.OVER_LIMIT
            wait = wait if quota.shadow else max(wait, reset)
    if wait:
        made.response_headers_to_add.add(key="retry-after", value=str(wait))
    return made


_UNITS: Final = {
    1: rls_pb2.RateLimitResponse.RateLimit.SECOND,
    60: rls_pb2.RateLimitResponse.RateLimit.MINUTE,
    3600: rls_pb2.RateLimitResponse.RateLimit.HOUR,
    86400: rls_pb2.RateLimitResponse.RateLimit.DAY,
}
