"""HTTPRoute and GRPCRoute rules as Envoy routes, in the order of precedence that the Gateway API has.

Behaviour: gateway-api.sigs.k8s.io, HTTPRoute reference (`HTTPRouteRule`, `HTTPRouteFilter`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from envoy.config.route.v3 import route_components_pb2 as route_pb

from marline.api.gateway_api.http_route import (
    HTTPBackendRef,
    HTTPRouteMatch,
    HTTPRouteRule,
    HTTPRouteSpec,
)
from marline.api.gateway_api.shared import BackendObjectReference, HeaderMatch
from marline.api.networking.virtual_service import HTTPRetry
from marline.api.resource import Ref, Resource
from marline.compile.forward_proxy import FILTER as FORWARD_PROXY_FILTER
from marline.compile.forward_proxy import resolve_host
from marline.compile.gateway_api_authorization import set_authorization
from marline.compile.gateway_api_filters import (
    Filters,
    add_mirror,
    header_changes,
    redirect_of,
    set_cors,
    set_redirect,
    set_rewrite,
)
from marline.compile.gateway_api_grpc import GRPC_ROUTE, grpc_precedence
from marline.compile.gateway_api_paths import set_path
from marline.compile.gateway_api_session import keep_backend, match_backend, set_session
from marline.compile.gateway_api_unsupported import match_fault, rule_fault
from marline.compile.rate_limits import RateLimiter, limit_routes
from marline.compile.routes_faults import fraction
from marline.compile.routes_headers import apply_headers
from marline.compile.routes_match import regex
from marline.compile.routes_retry import (
    DEFAULT_ATTEMPTS,
    DEFAULT_RETRY_ON,
    retry_policy,
    set_timeout,
)
from marline.compile.routes_rules import origin
from marline.compile.routes_targets import Target, hash_policies

BackendKey = tuple[str, str, str | None, str, int | None]
Share = tuple[HTTPBackendRef, Target | None]
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
    limiters: tuple[RateLimiter | None, ...] = ()
    """The rate limits of each of the rules."""

    @property
    def ref(self) -> Ref:
        return self.resource.ref

    @property
    def is_grpc(self) -> bool:
        """Is it a GRPCRoute, in the form of an HTTPRoute?"""
        return self.resource.kind == GRPC_ROUTE

    def leads_to(self) -> Iterator[Target | None]:
        return (target for _, target in self.backends)

    def target(self, backend: BackendObjectReference) -> Target | None:
        wanted = backend_key(backend)
        return next((target for key, target in self.backends if key == wanted), None)


def backend_key(backend: BackendObjectReference) -> BackendKey:
    return (backend.group, backend.kind, backend.namespace, backend.name, backend.port)


def references(spec: HTTPRouteSpec) -> Iterator[BackendObjectReference]:
    """Every backend that a route names, those of its filters included."""
    for rule in spec.rules:
        yield from rule.backend_refs
        for filters in (rule.filters, *(backend.filters for backend in rule.backend_refs)):
            for item in filters:
                if item.request_mirror is not None:
                    yield item.request_mirror.backend_ref
                if item.external_auth is not None:
                    yield item.external_auth.backend_ref


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
                made = list(_routes(routes, rule, match, index, field))
                limit_routes(made, routes.limiters, index, f"{routes.ref} spec.rules[{index}]")
                place = order(match)
                found.extend((place, route) for route in made)
    found.sort(key=lambda item: item[0])
    return [route for _, route in found]


def precedence(match: HTTPRouteMatch) -> tuple[int, int, bool, int, int]:
    """Sorts first what wins: an exact path, then the longest prefix, a method, the most headers, the
    most query parameters. Regular expressions are placed between exact paths and prefixes."""
    kind = match.path.type if match.path is not None else "PathPrefix"
    length = len(match.path.value) if match.path is not None else 1
    rank = {"Exact": 0, "RegularExpression": 1, "PathPrefix": 2}[kind]
    return (rank, -length, match.method is None, -len(match.headers), -len(match.query_params))


def _routes(
    routes: RouteSet, rule: HTTPRouteRule, match: HTTPRouteMatch, index: int, field: str
) -> Iterator[route_pb.Route]:
    """One Envoy route, or one for each backend of a rule that needs more than a share of the requests."""
    if match_fault(match):
        return
    made = route_pb.Route(name=f"{routes.ref.namespace}.{routes.ref.name}.{rule.name or index}")
    made.match.CopyFrom(_match(match))
    made.metadata.CopyFrom(origin(routes.ref, field))
    shares = [(backend, routes.target(backend)) for backend in rule.backend_refs if backend.weight > 0]
    if rule_fault(rule, index):
        made.direct_response.status = _broken_status(routes)
        yield made
    elif any(_needs_route(backend) for backend, _ in shares) or (
        rule.session_persistence is not None and len(shares) > 1
    ):
        yield from _routes_of_shares(made, routes, rule, match, shares)
    else:
        _set_action(made, routes, rule, match, shares, rule.filters)
        yield made


def _routes_of_shares(
    base: route_pb.Route, routes: RouteSet, rule: HTTPRouteRule, match: HTTPRouteMatch, shares: list[Share]
) -> Iterator[route_pb.Route]:
    """A route for each backend, told apart by a fraction of all requests: for backends with filters that
    Envoy has for routes only, and for those of sessions, whose later requests are told apart by a cookie."""
    session, several = rule.session_persistence, len(shares) > 1
    parts: list[route_pb.Route] = []
    total = sum(backend.weight for backend, _ in shares)
    for number, share in enumerate(shares):
        part = route_pb.Route()
        part.CopyFrom(base)
        _set_action(part, routes, rule, match, [share], (*rule.filters, *share[0].filters))
        if session is not None and several and part.HasField("route"):
            kept = route_pb.Route()
            kept.CopyFrom(part)
            match_backend(kept.match, session, _session_name(part), _token(share[0]))
            keep_backend(part, session, _session_name(part), _token(share[0]))
            yield kept
        if number < len(shares) - 1:
            # All routes are tried with one random number, so the fractions add up.
            until = sum(backend.weight for backend, _ in shares[: number + 1])
            part.match.runtime_fraction.default_value.CopyFrom(fraction(100 * until / total))
        parts.append(part)
    yield from parts


def _session_name(made: route_pb.Route) -> str:
    return f"marline-{made.name}"


def _token(backend: HTTPBackendRef) -> str:
    """A backend as the value of a cookie."""
    return f"{backend.namespace or ''}.{backend.name}.{backend.port or 0}"


def _needs_route(backend: HTTPBackendRef) -> bool:
    return any(not item.type.endswith("HeaderModifier") for item in backend.filters)


def _set_action(
    made: route_pb.Route,
    routes: RouteSet,
    rule: HTTPRouteRule,
    match: HTTPRouteMatch,
    shares: list[Share],
    filters: Filters,
) -> None:
    """`filters` are the rule's, and those of the only share that need a route of their own."""
    apply_headers(made, header_changes(rule.filters))
    set_cors(made, filters)
    redirect = redirect_of(filters)
    asking = next((item.external_auth for item in filters if item.external_auth is not None), None)
    asked = routes.target(asking.backend_ref) if asking is not None else None
    if asking is not None and asked is not None:
        set_authorization(made, asking, asked)
    if asking is not None and asked is None:
        made.direct_response.status = _broken_status(routes)
    elif redirect is not None:
        set_redirect(made.redirect, redirect, match.path, routes.scheme, routes.port)
    elif not any(target is not None for _, target in shares):
        made.direct_response.status = _broken_status(routes)
    else:
        _forward(made, routes, rule, match, shares, filters)
        set_session(made, rule.session_persistence, _session_name(made))


def _broken_status(routes: RouteSet) -> int:
    """Of requests for which there is no backend. Envoy tells gRPC clients UNAVAILABLE for 503."""
    return 503 if routes.is_grpc else 500


def _forward(
    made: route_pb.Route,
    routes: RouteSet,
    rule: HTTPRouteRule,
    match: HTTPRouteMatch,
    shares: list[Share],
    filters: Filters,
) -> None:
    action = made.route
    action.cluster_not_found_response_code = (
        route_pb.RouteAction.SERVICE_UNAVAILABLE
        if routes.is_grpc
        else route_pb.RouteAction.INTERNAL_SERVER_ERROR
    )
    _backends(made, shares)
    hashes = [target.hash for _, target in shares if target is not None]
    action.hash_policy.extend(hash_policies(hashes))
    if any(target is not None and target.resolves for _, target in shares):
        made.typed_per_filter_config[FORWARD_PROXY_FILTER].Pack(resolve_host())
    retries = next((target.retries for _, target in shares if target is not None), None)
    _limits(action, rule, retries, hashed=any(item is not None for item in hashes))
    authority = header_changes(rule.filters).authority
    if authority:
        action.host_rewrite_literal = authority
    for item in filters:
        if item.url_rewrite is not None:
            set_rewrite(action, item.url_rewrite, match.path)
        if item.request_mirror is not None:
            add_mirror(action, item.request_mirror, routes.target(item.request_mirror.backend_ref))


def _backends(made: route_pb.Route, shares: list[Share]) -> None:
    if len(shares) == 1 and shares[0][1] is not None and not shares[0][0].filters:
        made.route.cluster = shares[0][1].cluster
        return
    for backend, target in shares:
        share = made.route.weighted_clusters.clusters.add(name=target.cluster if target else _UNRESOLVED)
        share.weight.value = backend.weight
        changes = header_changes(backend.filters)
        apply_headers(share, changes)
        if changes.authority:
            share.host_rewrite_literal = changes.authority


def _limits(action: Any, rule: HTTPRouteRule, retries: HTTPRetry | None, *, hashed: bool) -> None:
    """`timeouts.request` is for all attempts, `backendRequest` for each one. 0 means no limit. `retries`:
    the mesh's, unless the rule has its own."""
    timeouts, retry = rule.timeouts, rule.retry
    per_try = timeouts.backend_request if timeouts is not None else None
    set_timeout(action, timeouts.request if timeouts is not None else None)
    if retry is None and retries is not None and per_try:
        retries = msgspec.structs.replace(retries, per_try_timeout=per_try)
    elif retry is not None or per_try:
        codes = retry.codes if retry is not None else ()
        attempts = retry.attempts if retry is not None and retry.attempts is not None else DEFAULT_ATTEMPTS
        conditions = DEFAULT_RETRY_ON + (",reset" if retry is not None and per_try else "")
        retries = HTTPRetry(
            attempts=attempts,
            per_try_timeout=per_try or None,
            retry_on=",".join((conditions, *(str(code) for code in codes))),
            backoff=retry.backoff if retry is not None and retry.backoff else None,
        )
    policy = retry_policy(retries, hashed=hashed)
    if policy is not None:
        action.retry_policy.CopyFrom(policy)


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
