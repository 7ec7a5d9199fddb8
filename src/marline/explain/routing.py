"""What a connection manager does with a request: an interpreter of Envoy's route tables.

Envoy documentation, "HTTP route matching": the virtual host by the Host header, then the first route whose
conditions all hold; faults and CORS come before the route's action.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from marline.explain.conditions import fraction_of, why_not
from marline.explain.faults import NO_FAULTS, Faults, answers_preflight, faults_of, http_status_of
from marline.explain.origin import Place, route_place
from marline.explain.paths import location, rewritten
from marline.explain.request import CannotTell, Request, only, without
from marline.explain.virtual_hosts import host_for

_REDIRECT_STATUS: Final = (301, 302, 303, 307, 308)
NOT_FOUND: Final = 404
_CLUSTER_NOT_FOUND: Final = (503, 404, 500)
_ROUTE: Final = (
    "name", "match", "route", "redirect", "direct_response", "metadata", "typed_per_filter_config",
    "request_headers_to_add", "request_headers_to_remove", "response_headers_to_add",
    "response_headers_to_remove", "stat_prefix",
)  # fmt: skip
_ACTION: Final = (
    "cluster", "weighted_clusters", "cluster_not_found_response_code", "prefix_rewrite", "regex_rewrite",
    "host_rewrite_literal", "timeout", "idle_timeout", "retry_policy", "request_mirror_policies",
    "hash_policy", "upgrade_configs", "max_stream_duration", "priority", "hedge_policy", "metadata_match",
    "rate_limits",
)  # fmt: skip
_SHARE: Final = (
    "name", "weight", "request_headers_to_add", "request_headers_to_remove", "response_headers_to_add",
    "response_headers_to_remove", "host_rewrite_literal", "metadata_match",
)  # fmt: skip
_REDIRECT: Final = (
    "host_redirect", "path_redirect", "port_redirect", "scheme_redirect", "https_redirect", "prefix_rewrite",
    "regex_rewrite", "response_code", "strip_query",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Miss:
    """A route that was tried before, and the condition that the request did not fulfil."""

    why: str
    place: Place | None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One of the things that may become of a request, with its share of all such requests (0 to 1)."""

    share: float
    by: str
    """`cluster`, `redirect`, `direct response`, `fault`, `cors`, `no route`, `no virtual host`,
    `tls required`."""
    status: int = 0
    """What the proxy itself answers; 0: the request goes on."""
    cluster: str = ""
    request: Request | None = None
    """As it goes on."""
    location: str = ""
    body: bytes = b""
    missing: int = 0
    """What is answered if the cluster does not exist (`cluster_not_found_response_code`)."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A route that takes a request, or a share of all such requests."""

    route: Any = field(repr=False)
    request: Request
    """As the route table sees it."""
    share: float
    outcomes: tuple[Outcome, ...]
    """Their shares are of all requests, too."""
    faults: Faults = NO_FAULTS

    @property
    def place(self) -> Place | None:
        """What the route is made of."""
        return route_place(self.route)


@dataclass(frozen=True, slots=True)
class Decision:
    """Which routes take a request, and what becomes of it there."""

    request: Request
    host: Any = field(default=None, repr=False)
    domain: str = ""
    misses: tuple[Miss, ...] = ()
    taken: tuple[Taken, ...] = ()
    """One, unless routes are for fractions of the requests."""
    unrouted: tuple[Outcome, ...] = ()
    """What becomes of requests that no route takes."""

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        return (*(outcome for item in self.taken for outcome in item.outcomes), *self.unrouted)

    @property
    def place(self) -> Place | None:
        """What the (first) route is made of."""
        return self.taken[0].place if self.taken else None


def decide(table: Any, hosts: Iterable[Any], request: Request) -> Decision:
    """What a route table does with a request; `hosts`: its virtual hosts, those discovered included.
    Raises `CannotTell`."""
    without(table, ("vhost_header", "ignore_path_parameters_in_path_matching"), "the route table")
    found = host_for(hosts, request.authority, ignore_port=table.ignore_port_in_host_matching)
    if found is None:
        return Decision(request, unrouted=(Outcome(1.0, "no virtual host", NOT_FOUND),))
    host, domain = found
    without(host, ("matcher",), f"the virtual host {host.name}")
    if host.require_tls and request.scheme != "https":
        return Decision(request, host, domain, unrouted=(_to_https(request),))
    misses: list[Miss] = []
    taken: list[Taken] = []
    reached = 0.0
    for route in host.routes:
        why = why_not(route.match, request)
        if why:
            misses.append(Miss(why, route_place(route), route.name))
            continue
        # Envoy draws one number for a request, which is compared with the fraction of each route.
        until = fraction_of(route.match)
        if until > reached:
            taken.append(_take(route, request, until - reached))
            reached = until
        if reached >= 1:
            break
    unrouted = (Outcome(1.0 - reached, "no route", NOT_FOUND),) if reached < 1 else ()
    return Decision(request, host, domain, tuple(misses), tuple(taken), unrouted)


def _to_https(request: Request) -> Outcome:
    host, colon, port = request.authority.rpartition(":")
    name = host if colon and port == "80" else request.authority
    return Outcome(1.0, "tls required", 301, location=f"https://{name}{request.path}")


def _take(route: Any, request: Request, share: float) -> Taken:
    only(route, _ROUTE, "the route")
    faults = faults_of(route)
    found: list[Outcome] = []
    if faults.abort_share:
        grpc = faults.abort_grpc_status
        status = faults.abort_status if grpc is None else _grpc_abort(grpc, request)
        found.append(Outcome(share * faults.abort_share, "fault", status))
    rest = share * (1.0 - faults.abort_share)
    if rest > 0:
        acted = _preflight(route, request) or _act(route, request)
        found += [replace(item, share=item.share * rest) for item in acted]
    return Taken(route, request, share, tuple(found), faults)


def _grpc_abort(status: int, request: Request) -> int:
    """A caller that speaks gRPC gets 200 and the status in a header of its own."""
    is_grpc = (request.header("content-type") or "").startswith("application/grpc")
    return 200 if is_grpc else http_status_of(status)


def _preflight(route: Any, request: Request) -> list[Outcome]:
    """Envoy's CORS filter leaves requests alone that are not to be forwarded."""
    if route.WhichOneof("action") == "route" and answers_preflight(route, request):
        return [Outcome(1.0, "cors", 200)]
    return []


def _act(route: Any, request: Request) -> list[Outcome]:
    kind = route.WhichOneof("action")
    if kind == "redirect":
        only(route.redirect, _REDIRECT, "the redirect")
        status = _REDIRECT_STATUS[route.redirect.response_code]
        return [Outcome(1.0, "redirect", status, location=location(route.redirect, route.match, request))]
    if kind == "direct_response":
        body = route.direct_response.body
        content = body.inline_bytes or body.inline_string.encode()
        return [Outcome(1.0, "direct response", route.direct_response.status, body=content)]
    if kind != "route":
        raise CannotTell(f"the route's action {kind} cannot be evaluated")
    return _forward(route, request)


def _forward(route: Any, request: Request) -> list[Outcome]:
    action = route.route
    only(action, _ACTION, "the route")
    path = rewritten(action, route.match, request)
    authority = action.host_rewrite_literal or request.authority
    missing = _CLUSTER_NOT_FOUND[action.cluster_not_found_response_code]
    kind = action.WhichOneof("cluster_specifier")
    if kind == "cluster":
        sent = request.sent_with(path=path, authority=authority)
        return [Outcome(1.0, "cluster", 0, action.cluster, sent, missing=missing)]
    shares = list(action.weighted_clusters.clusters)
    total = sum(item.weight.value for item in shares)
    found = []
    for item in shares:
        only(item, _SHARE, f"the share of {item.name}")
        # The route's own host comes last in Envoy, so it counts.
        own = action.host_rewrite_literal or item.host_rewrite_literal or request.authority
        sent = request.sent_with(path=path, authority=own)
        found.append(Outcome(item.weight.value / total, "cluster", 0, item.name, sent, missing=missing))
    return found
