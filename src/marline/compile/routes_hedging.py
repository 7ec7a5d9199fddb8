"""Hedging: a request that is not answered in time is sent once more (ResiliencePolicy).

envoyproxy.io, `HedgePolicy`: when an attempt's time is over it goes on, beside the next attempt, and the
first good answer counts. That is a property of a route, and only some methods may be sent twice: a route
to a service that is hedged has one before it for those methods.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from envoy.config.route.v3 import route_components_pb2 as route_pb

from marline.api.policy.resilience import Hedging
from marline.compile.routes_match import regex
from marline.compile.routes_targets import Target, duration


def hedged(routes: Iterable[Any], targets: Iterable[Target | None]) -> list[Any]:
    """Routes, each preceded by its hedged form if all that it leads to is hedged. To be asked last: it is
    no longer seen of a route whether it is for everything."""
    found: list[Any] = []
    by_cluster = {item.cluster: item.hedging for item in targets if item is not None and item.hedging}
    for route in routes:
        hedging = _hedging_of(route, by_cluster)
        if hedging is not None:
            found.append(_hedged(route, hedging))
        found.append(route)
    return found


def _hedging_of(route: Any, by_cluster: Mapping[str, Hedging | None]) -> Hedging | None:
    """That of all the route's clusters; of several the most patient."""
    if not by_cluster or not route.HasField("route") or not route.route.HasField("retry_policy"):
        return None
    shares = [item.name for item in route.route.weighted_clusters.clusters] or [route.route.cluster]
    found = [by_cluster.get(name) for name in shares]
    given = [item for item in found if item is not None]
    return max(given, key=lambda item: item.after) if len(given) == len(found) else None


def _hedged(route: Any, hedging: Hedging) -> Any:
    made = route_pb.Route()
    made.CopyFrom(route)
    condition = made.match.headers.add(name=":method").string_match.safe_regex
    condition.CopyFrom(regex("|".join(hedging.methods)))
    made.route.hedge_policy.hedge_on_per_try_timeout = True
    if not made.route.retry_policy.HasField("per_try_timeout"):
        made.route.retry_policy.per_try_timeout.CopyFrom(duration(hedging.after))
    return made
