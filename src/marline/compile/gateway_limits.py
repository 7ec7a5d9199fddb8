"""Which rate limits count for each rule of a route at a gateway."""

from collections.abc import Sequence

from marline.api.resource import Ref
from marline.compile.rate_limits import RateLimiter, rate_limiter
from marline.mesh.policies import RATE_LIMIT
from marline.mesh.snapshot import MeshSnapshot


def route_limiters(
    snapshot: MeshSnapshot, rules: Sequence[tuple[Ref, str]], route: Ref, gateway: tuple[Ref, str]
) -> tuple[RateLimiter | None, ...]:
    """The most specific policy for each rule of a route at a listener of a gateway.

    Rules are given by the resource in which they are written (which may be a delegate) and their names, the
    listener by its name; "" stands for no name."""
    if not snapshot.rules.policies:
        return ()
    outer = snapshot.policy(RATE_LIMIT, route, None)
    outer = outer or snapshot.policy(RATE_LIMIT, gateway[0], gateway[1] or None, None)
    found = (snapshot.policy(RATE_LIMIT, source, name or None, None) or outer for source, name in rules)
    limiters = tuple(rate_limiter(item) for item in found)
    return limiters if any(limiters) else ()
