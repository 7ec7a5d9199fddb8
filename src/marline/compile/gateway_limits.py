"""Which rate limits count for each rule of a route at a gateway, and which for a gateway at all."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from marline.api.resource import Ref, Resource
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
    whole = rate_limiter(snapshot.policy(RATE_LIMIT, route, None))
    outer = whole or next(gateway_limiters(snapshot, gateway), None)
    found = (snapshot.policy(RATE_LIMIT, source, name or None, None) for source, name in rules)
    limiters = tuple(rate_limiter(item) or outer for item in found)
    return limiters if any(limiters) else ()


def gateway_limiters(snapshot: MeshSnapshot, gateway: tuple[Ref, str]) -> Iterator[RateLimiter]:
    """The policy for a listener of a gateway, if there is one."""
    found = rate_limiter(snapshot.policy(RATE_LIMIT, gateway[0], gateway[1] or None, None))
    if found is not None:
        yield found


def limiters_of(snapshot: MeshSnapshot, route: Ref) -> Iterator[RateLimiter]:
    """The policies that count for some rule of a route, if it has that rule."""
    attached = snapshot.rules.policies.get(route, ())
    named = (item.section_name for policy in attached for item in policy.spec.target_refs)
    for section in dict.fromkeys(named):
        found = rate_limiter(snapshot.policy(RATE_LIMIT, route, section))
        if found is not None:
            yield found


def limited_routes(snapshot: MeshSnapshot, group: str, kinds: Collection[str]) -> Iterator[Resource[Any]]:
    """The routes of some kinds that policies are attached to."""
    for target in sorted(snapshot.rules.policies, key=str):
        route = snapshot.resource(target) if target.group == group and target.kind in kinds else None
        if route is not None:
            yield route
