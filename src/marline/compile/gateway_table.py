"""The route table of a gateway's server: a virtual host for each host, rules of both APIs merged."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from envoy.config.route.v3 import route_components_pb2 as route_pb
from envoy.config.route.v3 import route_pb2

from marline.api.resource import Ref
from marline.compile.gateway_api_rules import ordered_routes
from marline.compile.gateway_server import HostTable
from marline.compile.rate_limits import RateLimiter, limit_table
from marline.compile.routes_hedging import hedged
from marline.compile.routes_hosts import MAX_DIRECT_RESPONSE
from marline.compile.routes_targets import Target

_MISDIRECTED: Final = 421


def build_table(name: str, hosts: tuple[HostTable, ...]) -> route_pb2.RouteConfiguration:
    """An Envoy `RouteConfiguration`. A host that is in no table, or a request that no rule is for,
    gets a 404. The port in a `Host` header does not count: users reach gateways through mapped ports."""
    table = route_pb2.RouteConfiguration(name=name, ignore_port_in_host_matching=True)
    table.validate_clusters.value = False
    table.max_direct_response_body_size_bytes.value = MAX_DIRECT_RESPONSE
    for host in hosts:
        table.virtual_hosts.append(_virtual_host(host))
    limit_table(table, table_limiters(hosts))
    return table


def table_limiters(hosts: Iterable[HostTable]) -> tuple[RateLimiter, ...]:
    """The rate limits of some of a table's routes, each once."""
    found: dict[RateLimiter, None] = {}
    for host in hosts:
        own = [item.limiters for item in host.rule_sets] + [item.limiters for item in host.route_sets]
        found.update((limiter, None) for limiters in own for limiter in limiters if limiter is not None)
    return tuple(found)


def _virtual_host(host: HostTable) -> route_pb.VirtualHost:
    made = route_pb.VirtualHost(name=host.host, domains=[host.host], include_request_attempt_count=True)
    if host.misdirected:
        refusal = made.routes.add(name="misdirected")
        refusal.match.prefix = "/"
        refusal.direct_response.status = _MISDIRECTED
        return made
    if host.require_tls:
        made.require_tls = route_pb.VirtualHost.ALL
    routes: list[Any] = []
    for rules in host.rule_sets:
        routes.extend(rules.envoy_routes())
    if len(host.rule_sets) > 1:
        routes.sort(key=is_catch_all)
    routes.extend(ordered_routes(host.route_sets))
    made.routes.extend(hedged(routes, _targets(host)))
    return made


def _targets(host: HostTable) -> Iterator[Target | None]:
    for rules in host.rule_sets:
        yield from rules.leads_to()
    for routes in host.route_sets:
        yield from routes.leads_to()


def is_catch_all(route: Any) -> bool:
    """Where several VirtualServices share a host, what is for every request comes last (as in Istio),
    else the oldest would hide all others."""
    match = route.match
    return match.prefix == "/" and not match.headers and not match.query_parameters


def table_sources(hosts: tuple[HostTable, ...]) -> tuple[Ref, ...]:
    found: dict[Ref, None] = {}
    for host in hosts:
        for rules in host.rule_sets:
            found.update(dict.fromkeys(rules.sources))
        for routes in host.route_sets:
            found[routes.ref] = None
    found.update((limiter.ref, None) for limiter in table_limiters(hosts))
    return tuple(found)
