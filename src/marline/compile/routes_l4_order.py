"""Rules in their order as filter chains, which have none.

Of VirtualService `tcp` and `tls` rules "the first rule matching an incoming request is used" (istio.io).
Envoy looks for the most specific destination subnet among all chains, then for the server name among the
chains of that subnet, then for the source; it never goes back to a less specific chain (Envoy API,
`FilterChainMatch`). So there is a chain for each combination of conditions, of the first rule that covers it.
"""

import ipaddress
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from marline.compile.routes_l4 import L4Route
from marline.mesh.hosts import host_matches

_ANY = ""
Condition = tuple[str, str, str]
"""A destination subnet, a source subnet, a server name."""


def in_order(routes: Sequence[L4Route]) -> tuple[L4Route, ...]:
    """Routes of which no two have an equal condition, and of which Envoy takes the one that came first."""
    taken: dict[int, list[Condition]] = {}
    for condition in itertools.product(
        _values(route.destination_subnets for route in routes),
        _values(route.source_subnets for route in routes),
        _values(route.sni_hosts for route in routes),
    ):
        first = next((index for index, route in enumerate(routes) if _covers(route, condition)), None)
        if first is not None:
            taken.setdefault(first, []).append(condition)
    return tuple(made for index in sorted(taken) for made in _split(routes[index], taken[index]))


def _values(conditions: Iterable[tuple[str, ...]]) -> list[str]:
    return list(dict.fromkeys(value for values in conditions for value in values or (_ANY,)))


def _covers(route: L4Route, condition: Condition) -> bool:
    destination, source, name = condition
    return (
        _covers_subnet(route.destination_subnets, destination)
        and _covers_subnet(route.source_subnets, source)
        and (
            not route.sni_hosts
            or (name != _ANY and any(host_matches(host, name) for host in route.sni_hosts))
        )
    )


def _covers_subnet(subnets: tuple[str, ...], subnet: str) -> bool:
    if not subnets or subnet == _ANY:
        return not subnets
    inner = ipaddress.ip_network(subnet)
    outer = (ipaddress.ip_network(item) for item in subnets)
    return any(_is_within(inner, item) for item in outer)


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _is_within(inner: _Network, outer: _Network) -> bool:
    return (
        inner.version == outer.version
        and inner.prefixlen >= outer.prefixlen
        and inner.network_address in outer
    )


def _split(route: L4Route, conditions: list[Condition]) -> Iterator[L4Route]:
    """A route for the conditions that are left to it: one of all of them if these are its own."""
    own = itertools.product(
        route.destination_subnets or (_ANY,), route.source_subnets or (_ANY,), route.sni_hosts or (_ANY,)
    )
    if set(own) == set(conditions):
        yield route
        return
    names: dict[tuple[str, str, bool], list[str]] = {}
    for destination, source, name in conditions:
        names.setdefault((destination, source, name == _ANY), []).append(name)
    for (destination, source, _), group in names.items():
        yield replace(
            route,
            destination_subnets=(destination,) if destination else (),
            source_subnets=(source,) if source else (),
            sni_hosts=tuple(name for name in group if name),
        )
