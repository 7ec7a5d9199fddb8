"""HTTPRoute and GRPCRoute rules as Envoy routes, in the order of precedence that the Gateway API has.

Behaviour: gateway-api.sigs.k8s.io, HTTPRoute reference (`HTTPRouteRule`, `HTTPRouteFilter`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from envoy.config.route.v3 import route_components_pb2 as route_pb

from marline.api.gateway_api.http_route import (
    HTTPBackendRef,
    HTTPRouteFilter,
    HTTPRouteMatch,
    HTTPRouteRule,
    HTTPRouteSpec,
)
from marline.api.gateway_api.shared import (
    BackendObjectReference,
    HeaderMatch,
    HTTPHeaderFilter,
    HTTPRequestMirrorFilter,
)
from marline.api.networking.virtual_service import HTTPRetry
from marline.api.resource import Ref, Resource
from marline.compile.gateway_api_grpc import GRPC_ROUTE, grpc_precedence
from marline.compile.gateway_api_paths import redirect_path, rewrite_path, set_path
from marline.compile.routes_faults import fraction
from marline.compile.routes_headers import HeaderChange, HeaderChanges, apply_headers, escape
from marline.compile.routes_match import regex
from marline.compile.routes_retry import retry_policy, set_timeout
from marline.compile.routes_rules import REDIRECTS, origin
from marline.compile.routes_targets import Target, hash_policies

BackendKey = tuple[str, str, str | None, str, int | None]
_WELL_KNOWN: Final = {"http": 80, "https": 443}
_UNRESOLVED: Final = "unresolved-backend"
"""A cluster that never exists: the share of requests that a broken reference would have got."""


@dataclass(frozen=True, slots=True)
class RouteSet:
    """One route at one listener, with where its backend references lead."""

    resource: Resource[HTTPRouteSpec]
    scheme: str
    """Of the requests at this listener: `http` or `https`."""
    port: int
    """The port that redirects name: where clients find this listener."""
    backends: tuple[tuple[BackendKey, Target | None], ...]
    """None: the reference is broken (no such Service or port, or not allowed)."""

    @property
    def ref(self) -> Ref:
        return self.resource.ref

    @property
    def is_grpc(self) -> bool:
        """Is it a GRPCRoute, in the form of an HTTPRoute?"""
        return self.resource.kind == GRPC_ROUTE

    def target(self, backend: BackendObjectReference) -> Target | None:
        wanted = backend_key(backend)
        return next((target for key, target in self.backends if key == wanted), None)


def backend_key(backend: BackendObjectReference) -> BackendKey:
    return (backend.group, backend.kind, backend.namespace, backend.name, backend.port)


def references(spec: HTTPRouteSpec) -> Iterator[BackendObjectReference]:
    """Every backend that a route names, those of its mirrors included."""
    for rule in spec.rules:
        for item in rule.filters:
            if item.request_mirror is not None:
                yield item.request_mirror.backend_ref
        yield from rule.backend_refs


def ordered_routes(route_sets: Iterable[RouteSet]) -> list[route_pb.Route]:
    """The routes of several HTTPRoutes for one host, most specific match first.

    Equal matches keep the order of the routes (oldest first, then by name) and of their rules.
    """
    found: list[tuple[tuple[int, int, bool, int, int], route_pb.Route]] = []
    for routes in route_sets:
        order = grpc_precedence if routes.is_grpc else precedence
        for index, rule in enumerate(routes.resource.spec.rules):
            for number, match in enumerate(rule.matches or (HTTPRouteMatch(),)):
                field = f"spec.rules[{index}]{f'.matches[{number}]' if rule.matches else ''}"
                found.append((order(match), _route(routes, rule, match, index, field)))
    found.sort(key=lambda item: item[0])
    return [route for _, route in found]


def precedence(match: HTTPRouteMatch) -> tuple[int, int, bool, int, int]:
    """Sorts first what wins: an exact path, then the longest prefix, a method, the most headers, the
    most query parameters. Regular expressions are placed between exact paths and prefixes."""
    kind = match.path.type if match.path is not None else "PathPrefix"
    length = len(match.path.value) if match.path is not None else 1
    rank = {"Exact": 0, "RegularExpression": 1, "PathPrefix": 2}[kind]
    return (rank, -length, match.method is None, -len(match.headers), -len(match.query_params))


def _route(
    routes: RouteSet, rule: HTTPRouteRule, match: HTTPRouteMatch, index: int, field: str
) -> route_pb.Route:
    made = route_pb.Route(name=f"{routes.ref.namespace}.{routes.ref.name}.{rule.name or index}")
    made.match.CopyFrom(_match(match))
    made.metadata.CopyFrom(origin(routes.ref, field))
    apply_headers(made, _header_changes(rule.filters))
    redirect = next((item for item in rule.filters if item.request_redirect is not None), None)
    if redirect is not None:
        _redirect(made.redirect, redirect, routes, match)
    else:
        _forward(made, routes, rule, match)
    return made


def _match(match: HTTPRouteMatch) -> route_pb.RouteMatch:
    made = route_pb.RouteMatch()
    set_path(made, match.path)
    if match.method is not None:
        made.headers.add(name=":method").string_match.exact = match.method
    for header in _first_of_each(match.headers, lower=True):
        _match_value(made.headers.add(name=header.name), header)
    for parameter in _first_of_each(match.query_params, lower=False):
        _match_value(made.query_parameters.add(name=parameter.name), parameter)
    return made


def _first_of_each(matches: tuple[HeaderMatch, ...], *, lower: bool) -> list[HeaderMatch]:
    """Of several matches for one name only the first counts; header names have no case."""
    found: dict[str, HeaderMatch] = {}
    for match in matches:
        found.setdefault(match.name.lower() if lower else match.name, match)
    return list(found.values())


def _match_value(matcher: Any, match: HeaderMatch) -> None:
    if match.type == "RegularExpression":
        matcher.string_match.safe_regex.CopyFrom(regex(match.value))
    else:
        matcher.string_match.exact = match.value


def _header_changes(filters: tuple[HTTPRouteFilter, ...]) -> HeaderChanges:
    request = next((item.request_header_modifier for item in filters if item.request_header_modifier), None)
    response = next(
        (item.response_header_modifier for item in filters if item.response_header_modifier), None
    )
    return HeaderChanges(_change(request), _change(response), _authority(request))


def _change(edit: HTTPHeaderFilter | None) -> HeaderChange:
    if edit is None:
        return HeaderChange()
    return HeaderChange(
        tuple((item.name, escape(item.value)) for item in edit.set if item.name.lower() != "host"),
        tuple((item.name, escape(item.value)) for item in edit.add if item.name.lower() != "host"),
        tuple(name for name in edit.remove if name.lower() != "host"),
    )


def _authority(edit: HTTPHeaderFilter | None) -> str:
    if edit is None:
        return ""
    return next((item.value for item in (*edit.set, *edit.add) if item.name.lower() == "host"), "")


def _forward(made: route_pb.Route, routes: RouteSet, rule: HTTPRouteRule, match: HTTPRouteMatch) -> None:
    shares = [(backend, routes.target(backend)) for backend in rule.backend_refs if backend.weight > 0]
    if not any(target is not None for _, target in shares):
        made.direct_response.status = _broken_status(routes)
        return
    action = made.route
    action.cluster_not_found_response_code = (
        route_pb.RouteAction.SERVICE_UNAVAILABLE
        if routes.is_grpc
        else route_pb.RouteAction.INTERNAL_SERVER_ERROR
    )
    _backends(made, shares)
    hashes = [target.hash for _, target in shares if target is not None]
    action.hash_policy.extend(hash_policies(hashes))
    _limits(action, rule, hashed=any(item is not None for item in hashes))
    authority = _header_changes(rule.filters).authority
    if authority:
        action.host_rewrite_literal = authority
    for item in rule.filters:
        if item.url_rewrite is not None:
            if item.url_rewrite.hostname:
                action.host_rewrite_literal = item.url_rewrite.hostname
            if item.url_rewrite.path is not None:
                rewrite_path(action, item.url_rewrite.path, match.path)
        if item.request_mirror is not None:
            _mirror(action, routes, item.request_mirror)


def _broken_status(routes: RouteSet) -> int:
    """Of requests for which there is no backend. Envoy tells gRPC clients UNAVAILABLE for 503."""
    return 503 if routes.is_grpc else 500


def _backends(made: route_pb.Route, shares: list[tuple[HTTPBackendRef, Target | None]]) -> None:
    if len(shares) == 1 and shares[0][1] is not None and not shares[0][0].filters:
        made.route.cluster = shares[0][1].cluster
        return
    for backend, target in shares:
        share = made.route.weighted_clusters.clusters.add(name=target.cluster if target else _UNRESOLVED)
        share.weight.value = backend.weight
        changes = _header_changes(backend.filters)
        apply_headers(share, changes)
        if changes.authority:
            share.host_rewrite_literal = changes.authority


def _limits(action: Any, rule: HTTPRouteRule, *, hashed: bool) -> None:
    """`timeouts.request` is for all attempts, `backendRequest` for each one. 0 means no limit."""
    timeouts = rule.timeouts
    per_try = timeouts.backend_request if timeouts is not None else None
    set_timeout(action, timeouts.request if timeouts is not None else None)
    retries = HTTPRetry(attempts=2, per_try_timeout=per_try) if per_try else None
    policy = retry_policy(retries, hashed=hashed)
    if policy is not None:
        action.retry_policy.CopyFrom(policy)


def _mirror(action: Any, routes: RouteSet, mirror: HTTPRequestMirrorFilter) -> None:
    target = routes.target(mirror.backend_ref)
    share = 100.0 if mirror.percent is None else float(mirror.percent)
    if mirror.fraction is not None:
        share = 100.0 * mirror.fraction.numerator / mirror.fraction.denominator
    if target is None or share <= 0:
        return
    policy = action.request_mirror_policies.add(cluster=target.cluster)
    policy.runtime_fraction.default_value.CopyFrom(fraction(min(share, 100.0)))
    policy.trace_sampled.value = False


def _redirect(action: Any, item: HTTPRouteFilter, routes: RouteSet, match: HTTPRouteMatch) -> None:
    redirect = item.request_redirect
    if redirect is None:
        return
    scheme = redirect.scheme or routes.scheme
    action.scheme_redirect = scheme
    action.host_redirect = redirect.hostname or ""
    action.response_code = REDIRECTS[redirect.status_code]
    port = redirect.port
    if port is None:
        port = _WELL_KNOWN[scheme] if redirect.scheme else routes.port
    # A client's own `Host` header may name a port, so it is always said which one is meant, unless
    # the host is replaced and the port is the one that goes without saying.
    if not (redirect.hostname and port == _WELL_KNOWN[scheme]):
        action.port_redirect = port
    if redirect.path is not None:
        redirect_path(action, redirect.path, match.path)
