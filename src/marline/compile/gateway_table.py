"""The route table of a gateway's servers, and its virtual hosts, in which rules of both APIs are merged.

A virtual host is a resource of its own (VHDS), as at sidecars: a change of one route sends one host.
"""

from collections.abc import Iterator
from typing import Any, Final

from envoy.config.route.v3 import route_components_pb2 as route_pb
from envoy.config.route.v3 import route_pb2

from marline.api.resource import Ref
from marline.compile.gateway_api_rules import ordered_routes
from marline.compile.gateway_server import HostTable
from marline.compile.rate_limits import RateLimiter, limit_host, limit_table
from marline.compile.routes_hedging import hedged
from marline.compile.routes_hosts import MAX_DIRECT_RESPONSE, discover_hosts
from marline.compile.routes_targets import Target

_MISDIRECTED: Final = 421


def build_table(
    name: str, limiters: tuple[RateLimiter, ...] = (), misdirected: tuple[str, ...] = ()
) -> route_pb2.RouteConfiguration:
    """An Envoy `RouteConfiguration`. A host without a virtual host, or a request that no rule is for, gets a
    404. The port in a `Host` header does not count: users reach gateways through mapped ports.

    Requests for `misdirected` hosts are sent back with 421, so that the client makes a connection for the
    listener that has them (RFC 9110, 15.5.20)."""
    table = route_pb2.RouteConfiguration(name=name, ignore_port_in_host_matching=True)
    table.validate_clusters.value = False
    table.max_direct_response_body_size_bytes.value = MAX_DIRECT_RESPONSE
    discover_hosts(table)
    for host in misdirected:
        made = table.virtual_hosts.add(name=host, domains=[host], include_request_attempt_count=True)
        refusal = made.routes.add(name="misdirected")
        refusal.match.prefix = "/"
        refusal.direct_response.status = _MISDIRECTED
        limit_host(made, limiters)
    limit_table(table, limiters)
    return table


def build_host(table: str, host: HostTable, limiters: tuple[RateLimiter, ...] = ()) -> route_pb.VirtualHost:
    """One of a table's virtual hosts; `limiters` are the whole table's. Its name is the resource's (see
    `routes_hosts`)."""
    made = route_pb.VirtualHost(
        name=host_name(table, host.host), domains=[host.host], include_request_attempt_count=True
    )
    if host.require_tls:
        made.require_tls = route_pb.VirtualHost.ALL
    routes: list[Any] = []
    for rules in host.rule_sets:
        routes.extend(rules.envoy_routes())
    if len(host.rule_sets) > 1:
        routes.sort(key=is_catch_all)
    routes.extend(ordered_routes(host.route_sets))
    made.routes.extend(hedged(routes, _targets(host)))
    limit_host(made, limiters)
    return made


def host_name(table: str, host: str) -> str:
    return f"{table}/{host}"


def _targets(host: HostTable) -> Iterator[Target | None]:
    for rules in host.rule_sets:
        yield from rules.leads_to()
    for routes in host.route_sets:
        yield from routes.leads_to()


def is_catch_all(route: Any) -> bool:
    """Where several VirtualServices share a host, what is for every request comes last (as in Istio),
    else the oldest would hide all others."""
    match = route.match
    conditions = (match.headers, match.query_parameters, match.dynamic_metadata)
    return bool(match.prefix == "/") and not any(conditions)


def host_sources(host: HostTable) -> tuple[Ref, ...]:
    """The resources that say what is routed for a host."""
    found: dict[Ref, None] = {}
    for rules in host.rule_sets:
        found.update(dict.fromkeys(rules.sources))
    for routes in host.route_sets:
        found[routes.ref] = None
    own = [item.limiters for item in host.rule_sets] + [item.limiters for item in host.route_sets]
    found.update((limiter.ref, None) for limiters in own for limiter in limiters if limiter is not None)
    return tuple(found)
