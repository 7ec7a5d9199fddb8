"""Filters of rules and backends, on Envoy routes.

Behaviour: gateway-api.sigs.k8s.io, `HTTPRouteFilter`; for cross-origin requests `HTTPCORSFilter`.
"""

import re
from typing import Any, Final

from envoy.extensions.filters.http.cors.v3 import cors_pb2

from marline.api.gateway_api.http_route import (
    HTTPCORSFilter,
    HTTPPathMatch,
    HTTPRequestRedirectFilter,
    HTTPRouteFilter,
    HTTPURLRewriteFilter,
)
from marline.api.gateway_api.shared import HTTPHeaderFilter, HTTPRequestMirrorFilter
from marline.compile.gateway_api_paths import redirect_path, rewrite_path
from marline.compile.routes_faults import CORS_FILTER, fraction
from marline.compile.routes_headers import HeaderChange, HeaderChanges, escape
from marline.compile.routes_match import regex
from marline.compile.routes_rules import REDIRECTS
from marline.compile.routes_targets import Target

Filters = tuple[HTTPRouteFilter, ...]
_WELL_KNOWN: Final = {"http": 80, "https": 443}


def redirect_of(filters: Filters) -> HTTPRequestRedirectFilter | None:
    return next((item.request_redirect for item in filters if item.request_redirect is not None), None)


def header_changes(filters: Filters) -> HeaderChanges:
    """What the header modifiers do; a `set` of the host rewrites the authority."""
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


def set_rewrite(action: Any, rewrite: HTTPURLRewriteFilter, match: HTTPPathMatch | None) -> None:
    if rewrite.hostname:
        action.host_rewrite_literal = rewrite.hostname
    if rewrite.path is not None:
        rewrite_path(action, rewrite.path, match)


def add_mirror(action: Any, mirror: HTTPRequestMirrorFilter, target: Target | None) -> None:
    """Send a copy of a share of the requests; to a broken reference none."""
    share = 100.0 if mirror.percent is None else float(mirror.percent)
    if mirror.fraction is not None:
        share = 100.0 * mirror.fraction.numerator / mirror.fraction.denominator
    if target is None or share <= 0:
        return
    policy = action.request_mirror_policies.add(cluster=target.cluster)
    policy.runtime_fraction.default_value.CopyFrom(fraction(min(share, 100.0)))
    policy.trace_sampled.value = False


def set_redirect(
    action: Any,
    redirect: HTTPRequestRedirectFilter,
    match: HTTPPathMatch | None,
    scheme: str,
    port: int,
) -> None:
    """`scheme` and `port` are those at which the client came."""
    wanted = redirect.scheme or scheme
    action.scheme_redirect = wanted
    action.host_redirect = redirect.hostname or ""
    action.response_code = REDIRECTS[redirect.status_code]
    number = redirect.port
    if number is None:
        number = _WELL_KNOWN[wanted] if redirect.scheme else port
    # A client's own `Host` header may name a port, so it is always said which one is meant, unless
    # the host is replaced and the port is the one that goes without saying.
    if not (redirect.hostname and number == _WELL_KNOWN[wanted]):
        action.port_redirect = number
    if redirect.path is not None:
        redirect_path(action, redirect.path, match)


def set_cors(made: Any, filters: Filters) -> None:
    """The policy for cross-origin requests, on a route or a virtual host."""
    policy = next((item.cors for item in filters if item.cors is not None), None)
    if policy is not None:
        made.typed_per_filter_config[CORS_FILTER].Pack(cors_policy(policy))


def cors_policy(policy: HTTPCORSFilter) -> Any:
    """Envoy's `CorsPolicy`. The origin is always echoed, and so is what a preflight asks for where `*` stands
    for all methods or headers; a preflight of an unknown origin is answered without an allowed origin.
    With credentials a browser reads `*` among the exposed headers literally, so it is left out."""
    made = cors_pb2.CorsPolicy()
    for origin in policy.allow_origins:
        made.allow_origin_string_match.add().safe_regex.CopyFrom(regex(_origin_pattern(origin)))
    made.allow_methods = ",".join(policy.allow_methods)
    made.allow_headers = ",".join(policy.allow_headers)
    exposed = [name for name in policy.expose_headers if name != "*" or not policy.allow_credentials]
    made.expose_headers = ",".join(exposed)
    made.max_age = str(policy.max_age)
    if policy.allow_credentials:
        made.allow_credentials.value = True
    made.forward_not_matching_preflights.value = False
    made.filter_enabled.default_value.CopyFrom(fraction(100))
    return made


def _origin_pattern(origin: str) -> str:
    """`*` in an origin's host stands for any number of labels; the ports 80 and 443 may go unsaid."""
    if origin == "*":
        return ".*"
    scheme, _, rest = origin.partition("://")
    host, _, port = rest.partition(":")
    pattern = f"{scheme}://" + re.escape(host).replace(r"\*", ".*")
    if not port and host == "*":
        return pattern
    if not port or int(port) == _WELL_KNOWN[scheme]:
        return f"{pattern}(:{_WELL_KNOWN[scheme]})?"
    return f"{pattern}:{port}"
