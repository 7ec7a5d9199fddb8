"""What an HTTP connection manager does with a request before and by its route table."""

from dataclasses import replace
from typing import Any, Final

from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb,
)

from marline.compile.filters import ROUTER_FILTER
from marline.compile.forward_proxy import FILTER as FORWARD_PROXY_FILTER
from marline.compile.gateway_api_authorization import ROUTE_FILTER
from marline.compile.gateway_api_session import SESSION_FILTER
from marline.compile.rate_limits import FILTER_NAMES
from marline.compile.request_authentication import FILTER as TOKENS
from marline.compile.routes_faults import CORS_FILTER, FAULT_FILTER
from marline.compile.token_cookies import FILTER as TOKEN_COOKIES
from marline.explain.connections import decides_access
from marline.explain.paths import normalized
from marline.explain.request import CannotTell, Request, without
from marline.explain.routing import Decision, decide
from marline.explain.tokens import received
from marline.explain.view import CompiledView

_KNOWN: Final = frozenset(
    {
        ROUTER_FILTER, FORWARD_PROXY_FILTER, CORS_FILTER, FAULT_FILTER, SESSION_FILTER,
        "envoy.filters.http.grpc_web", TOKEN_COOKIES,
        # Whether these refuse a request depends on others: see `influences`.
        "envoy.filters.http.adaptive_concurrency", "envoy.filters.http.admission_control",
        "envoy.filters.http.local_ratelimit", "envoy.filters.http.ratelimit",
    }
)  # fmt: skip
_REQUESTS_CHANGED: Final = (
    "strip_matching_host_port", "strip_any_host_port", "strip_trailing_host_dot",
    "path_normalization_options", "scheme_header_transformation",
)  # fmt: skip
"""What a connection manager does to requests before they are routed, beside `normalize_path`."""
_SLASHES_UNESCAPED: Final = hcm_pb.HttpConnectionManager.UNESCAPE_AND_FORWARD
_SLASHES_KEPT: Final = (
    hcm_pb.HttpConnectionManager.IMPLEMENTATION_SPECIFIC_DEFAULT,
    hcm_pb.HttpConnectionManager.KEEP_UNCHANGED,
)


def table_of(manager: Any, view: CompiledView) -> Any:
    """Its route table, inline or by name. Raises `CannotTell`."""
    kind = manager.WhichOneof("route_specifier")
    if kind == "route_config":
        return manager.route_config
    table = view.table(manager.rds.route_config_name) if kind == "rds" else None
    if table is None:
        raise CannotTell(f"there is no route table {manager.rds.route_config_name!r}")
    return table


def route_request(manager: Any, view: CompiledView, request: Request) -> Decision:
    """Raises `CannotTell`."""
    seen = as_seen(manager, request)
    table = table_of(manager, view)
    return decide(table, table.virtual_hosts, seen)


def as_seen(manager: Any, request: Request) -> Request:
    """A request as filters and routes see it. Raises `CannotTell`."""
    without(manager, _REQUESTS_CHANGED, "the connection manager")
    action = manager.path_with_escaped_slashes_action
    if action not in (*_SLASHES_KEPT, _SLASHES_UNESCAPED):
        raise CannotTell("the connection manager refuses escaped slashes, which is not evaluated")
    path = normalized(
        request.path,
        unescape_slashes=action == _SLASHES_UNESCAPED,
        normalize=manager.normalize_path.value,
        merge_slashes=manager.merge_slashes,
    )
    return replace(received(manager, request), path=path)


def strange_filters(manager: Any, decision: Decision) -> list[str]:
    """The HTTP filters that act on this request and are not evaluated: what they refuse or change is not
    known."""
    deciding = {item.name for item in manager.http_filters if decides_access(item)}
    verifying = set() if decision.request.shows_token else {TOKENS}
    known = _KNOWN | deciding | verifying
    names = (item.name for item in acting_filters(manager, decision))
    return [name for name in names if name not in known and not name.startswith(FILTER_NAMES)]


def acting_filters(manager: Any, decision: Decision) -> list[Any]:
    """The filters that act on a request: one that is disabled, or idle by itself, where the route (or its
    virtual host) configures it."""
    configured = {
        name
        for level in (*(item.route for item in decision.taken), decision.host)
        if level is not None
        for name in level.typed_per_filter_config
    }
    return [
        item
        for item in manager.http_filters
        if item.name in configured or not (item.disabled or item.name == ROUTE_FILTER)
    ]
