"""A service's virtual host, from the rules for it or without any."""

from collections.abc import Iterator
from typing import Any, Final, Protocol

from envoy.config.core.v3 import config_source_pb2
from envoy.config.route.v3 import route_components_pb2 as route_pb
from envoy.config.route.v3 import route_pb2

from marline.api.resource import Ref
from marline.compile.forward_proxy import FILTER as FORWARD_PROXY_FILTER
from marline.compile.forward_proxy import resolve_host
from marline.compile.routes_hedging import hedged
from marline.compile.routes_retry import retry_policy, set_timeout
from marline.compile.routes_targets import Target, hash_policies

MAX_DIRECT_RESPONSE: Final = 1024 * 1024
"""Bytes of a direct response's body (Envoy's own limit is 4096; Istio allows a mebibyte)."""


class Rules(Protocol):
    """What is routed for one host, whichever API says it."""

    @property
    def sources(self) -> tuple[Ref, ...]: ...

    def envoy_routes(self) -> list[Any]:
        """Envoy `Route`s in the order in which they are tried."""

    def leads_to(self) -> Iterator[Target | None]:
        """All that they lead to; None: nowhere."""


def discover_hosts(table: route_pb2.RouteConfiguration) -> None:
    """Virtual hosts are resources of their own, `<route configuration>/<name>`."""
    table.vhds.config_source.ads.SetInParent()
    table.vhds.config_source.resource_api_version = config_source_pb2.ApiVersion.V3


def build_single_host_table(name: str, host: tuple[Any, ...]) -> route_pb2.RouteConfiguration:
    """A route configuration of one virtual host, given by `build_virtual_host`'s arguments."""
    table = route_pb2.RouteConfiguration(name=name)
    table.validate_clusters.value = False
    table.max_direct_response_body_size_bytes.value = MAX_DIRECT_RESPONSE
    table.virtual_hosts.append(build_virtual_host(*host))
    return table


def build_virtual_host(
    name: str,
    names: tuple[str, ...],
    rules: Rules | None,
    fallback: Target | None,
    authority: str,
) -> route_pb.VirtualHost:
    """An Envoy `VirtualHost`: a VirtualService's routes, or one route to the service itself.

    `name` is the resource's whole name: Envoy removes virtual hosts by comparing these two. With
    `authority` requests are given this Host header unless a rule gives them another.
    """
    made = route_pb.VirtualHost(name=name, domains=names, include_request_attempt_count=True)
    if rules is not None:
        made.routes.extend(hedged(rules.envoy_routes(), rules.leads_to()))
    elif fallback is not None:
        made.routes.extend(hedged([default_route(fallback)], [fallback]))
    for route in made.routes if authority else ():
        if route.HasField("route") and not route.route.WhichOneof("host_rewrite_specifier"):
            route.route.host_rewrite_literal = authority
    return made


def default_route(target: Target) -> route_pb.Route:
    """What holds without a VirtualService: everything to the service, no timeout, Istio's retries."""
    route = route_pb.Route(name="default")
    route.match.prefix = "/"
    route.route.cluster = target.cluster
    route.route.hash_policy.extend(hash_policies([target.hash]))
    if target.resolves:
        route.typed_per_filter_config[FORWARD_PROXY_FILTER].Pack(resolve_host())
    set_timeout(route.route, None)
    policy = retry_policy(target.retries, hashed=target.hash is not None)
    if policy is not None:
        route.route.retry_policy.CopyFrom(policy)
    return route
