"""TLSRoutes, TCPRoutes and UDPRoutes at a listener: which connections go to which clusters.

Behaviour: gateway-api.sigs.k8s.io, reference of each kind: of several routes for the same connections the
oldest has them; the share of a broken reference is refused.
"""

from collections.abc import Iterable
from typing import Final

from marline.api.gateway_api.http_route import HTTPRouteSpec
from marline.compile.gateway_api_attach import Route
from marline.compile.gateway_api_backends import Client, resolve_backend
from marline.compile.gateway_api_listeners import BoundListener
from marline.compile.gateway_hosts import ANY
from marline.compile.passthrough import BLACK_HOLE
from marline.compile.routes_l4 import PLAIN_TCP, L4Route, WeightedTarget
from marline.mesh.snapshot import MeshSnapshot

_REFUSED: Final = (WeightedTarget(BLACK_HOLE, 1),)


def l4_routes(
    snapshot: MeshSnapshot,
    client: Client,
    bound: BoundListener,
    routes: Iterable[tuple[Route, tuple[str, ...]]],
) -> tuple[L4Route, ...]:
    """Routes come with the hosts that they have at the listener. Without any route connections are refused,
    and there is still a listener."""
    found = [
        l4_route(snapshot, client, route, () if ANY in hosts else hosts) for route, hosts in routes if hosts
    ]
    return tuple(found or [L4Route(_REFUSED, () if bound.hostname == ANY else (bound.hostname,))])


def l4_route(snapshot: MeshSnapshot, client: Client, route: Route, sni_hosts: tuple[str, ...]) -> L4Route:
    """Where the only rule of a route sends: clusters with their shares. As in Istio, connections are
    treated as the DestinationRule of the first backend says."""
    if isinstance(route.spec, HTTPRouteSpec):
        raise TypeError(f"{route.ref} is a route of requests")
    found = [
        (resolve_backend(snapshot, client, route, item), item.weight)
        for item in route.spec.rules[0].backend_refs
        if item.weight > 0
    ]
    shares = [(item.target.cluster if item.target else BLACK_HOLE, weight) for item, weight in found]
    settings = next((item.settings for item, _ in found if item.target), PLAIN_TCP)
    return L4Route(_merged(shares) or _REFUSED, sni_hosts, source=route.ref, settings=settings)


def _merged(shares: Iterable[tuple[str, int]]) -> tuple[WeightedTarget, ...]:
    """Each cluster once."""
    weights: dict[str, int] = {}
    for cluster, weight in shares:
        weights[cluster] = weights.get(cluster, 0) + weight
    return tuple(WeightedTarget(cluster, weight) for cluster, weight in weights.items())
