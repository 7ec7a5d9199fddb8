"""One rule of a VirtualService as Envoy routes: match, action, headers, faults.

Reproduces the behaviour that istio.io's VirtualService reference documents.
"""

import base64
import re
from collections.abc import Iterable
from typing import Any, Final

from envoy.config.route.v3 import route_components_pb2 as route_pb

from marline.api.networking.virtual_service import (
    HTTPBody,
    HTTPDirectResponse,
    HTTPMatchRequest,
    HTTPMirrorPolicy,
    HTTPRedirect,
    HTTPRewrite,
    HTTPRoute,
    HTTPRouteDestination,
    Percent,
)
from marline.api.resource import Ref
from marline.compile.routes_faults import CORS_FILTER, FAULT_FILTER, cors, fault, fraction
from marline.compile.routes_headers import apply_headers, header_changes
from marline.compile.routes_match import regex, route_match
from marline.compile.routes_retry import retry_policy, set_timeout
from marline.compile.routes_targets import Targets, hash_policies

REDIRECTS: Final = {
    0: route_pb.RedirectAction.MOVED_PERMANENTLY,
    301: route_pb.RedirectAction.MOVED_PERMANENTLY,
    302: route_pb.RedirectAction.FOUND,
    303: route_pb.RedirectAction.SEE_OTHER,
    307: route_pb.RedirectAction.TEMPORARY_REDIRECT,
    308: route_pb.RedirectAction.PERMANENT_REDIRECT,
}
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
"""Which a Location does not name, as in Istio."""
_WORD_START: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def rule_routes(
    rule: HTTPRoute,
    matches: Iterable[tuple[str, HTTPMatchRequest | None]],
    targets: Targets,
    port: int,
    source: Ref,
    *,
    tls: bool = False,
) -> list[Any]:
    """An Envoy `Route` for each of the given matches of a rule, in their order. Each comes with the path
    of its field (of the rule's, if the rule has no matches).

    `port` is the port that the request was sent to, by `tls` or without; `source` the VirtualService.
    """
    return [_route(rule, match, targets, port, origin(source, field), tls=tls) for field, match in matches]


def _route(
    rule: HTTPRoute, match: HTTPMatchRequest | None, targets: Targets, port: int, metadata: Any, *, tls: bool
) -> Any:
    made = route_pb.Route(name=_name(rule, match))
    made.match.CopyFrom(route_match(match))
    made.metadata.CopyFrom(metadata)
    apply_headers(made, header_changes(rule.headers))
    if rule.redirect is not None:
        made.redirect.CopyFrom(_redirect(rule.redirect, port, tls=tls))
    elif rule.direct_response is not None:
        made.direct_response.CopyFrom(_direct_response(rule.direct_response))
    else:
        _forward(made, rule, match, targets)
    if rule.fault is not None:
        made.typed_per_filter_config[FAULT_FILTER].Pack(fault(rule.fault))
    if rule.cors_policy is not None:
        made.typed_per_filter_config[CORS_FILTER].Pack(cors(rule.cors_policy))
    if match is not None:
        made.stat_prefix = match.stat_prefix
    return made


def _name(rule: HTTPRoute, match: HTTPMatchRequest | None) -> str:
    if match is not None and match.name:
        return f"{rule.name}.{match.name}"
    return rule.name


def origin(source: Ref, field: str) -> Any:
    """Route metadata that names what the route is made of, where the access log and the configuration
    dump show it: the resource, in the form of Istio's (its path in the API), and the path of the field."""
    metadata = route_pb.Route().metadata
    path = f"/apis/{source.group}/v1/namespaces/{source.namespace}/{kebab(source.kind)}/{source.name}"
    metadata.filter_metadata["istio"].update({"config": path, "field": field})
    return metadata


def kebab(kind: str) -> str:
    """`VirtualService` → `virtual-service`, `HTTPRoute` → `http-route`."""
    return _WORD_START.sub("-", kind).lower()


def _forward(made: Any, rule: HTTPRoute, match: HTTPMatchRequest | None, targets: Targets) -> None:
    action = made.route
    _destinations(made, rule.route, targets)
    leading = [targets[item.destination] for item in rule.route]
    hashes = [target.hash for target in leading]
    action.hash_policy.extend(hash_policies(hashes))
    set_timeout(action, rule.timeout)
    retries = rule.retries if rule.retries is not None else next((item.retries for item in leading), None)
    policy = retry_policy(retries, hashed=any(item is not None for item in hashes))
    if policy is not None:
        action.retry_policy.CopyFrom(policy)
    authority = header_changes(rule.headers).authority
    if authority:
        action.host_rewrite_literal = authority
    if rule.rewrite is not None:
        _rewrite(action, rule.rewrite, match)
    for mirror in _mirrors(rule):
        share = 100.0 if mirror.percentage is None else mirror.percentage.value
        if share > 0:
            policy = action.request_mirror_policies.add(cluster=targets[mirror.destination].cluster)
            policy.runtime_fraction.default_value.CopyFrom(fraction(share))
            policy.trace_sampled.value = False


def _destinations(made: Any, destinations: tuple[HTTPRouteDestination, ...], targets: Targets) -> None:
    """One destination takes everything, whatever its weight; among several, weight 0 takes nothing."""
    if len(destinations) == 1:
        only = destinations[0]
        changes = header_changes(only.headers)
        made.route.cluster = targets[only.destination].cluster
        apply_headers(made, changes)
        if changes.authority:
            made.route.host_rewrite_literal = changes.authority
        return
    for item in destinations:
        if item.weight == 0:
            continue
        changes = header_changes(item.headers)
        share = made.route.weighted_clusters.clusters.add(name=targets[item.destination].cluster)
        share.weight.value = item.weight
        apply_headers(share, changes)
        if changes.authority:
            share.host_rewrite_literal = changes.authority


def _rewrite(action: Any, rewrite: HTTPRewrite, match: HTTPMatchRequest | None) -> None:
    if rewrite.authority:
        action.host_rewrite_literal = rewrite.authority
    if rewrite.uri_regex_rewrite is not None:
        action.regex_rewrite.pattern.CopyFrom(regex(rewrite.uri_regex_rewrite.match))
        action.regex_rewrite.substitution = rewrite.uri_regex_rewrite.rewrite
    elif rewrite.uri:
        if match is not None and match.uri is not None and match.uri.regex is not None:
            action.regex_rewrite.pattern.CopyFrom(regex(match.uri.regex))
            # The new path is meant literally; RE2 would read a backslash as a reference to a group.
            action.regex_rewrite.substitution = rewrite.uri.replace("\\", "\\\\")
        else:
            action.prefix_rewrite = rewrite.uri


def _mirrors(rule: HTTPRoute) -> tuple[HTTPMirrorPolicy, ...]:
    if rule.mirror is None:
        return rule.mirrors
    percentage = rule.mirror_percentage
    if percentage is None and rule.mirror_percent is not None:
        percentage = Percent(value=float(rule.mirror_percent))
    return (HTTPMirrorPolicy(destination=rule.mirror, percentage=percentage), *rule.mirrors)


def _redirect(redirect: HTTPRedirect, port: int, *, tls: bool) -> Any:
    action = route_pb.RedirectAction(
        host_redirect=redirect.authority, response_code=REDIRECTS[redirect.redirect_code]
    )
    if redirect.uri.startswith("%PREFIX()%"):
        action.prefix_rewrite = redirect.uri.removeprefix("%PREFIX()%")
    elif redirect.uri:
        action.path_redirect = redirect.uri
    if redirect.scheme:
        action.scheme_redirect = redirect.scheme
    wanted = redirect.port or 0
    if redirect.derive_port == "FROM_REQUEST_PORT":
        # Envoy cannot take it from the request; but this route only ever serves this one port.
        wanted = port
    scheme = redirect.scheme or ("https" if tls else "http")
    if wanted != _DEFAULT_PORTS.get(scheme):
        action.port_redirect = wanted
    return action


def _direct_response(response: HTTPDirectResponse) -> Any:
    action = route_pb.DirectResponseAction(status=response.status)
    body = response.body or HTTPBody()
    if body.string is not None:
        action.body.inline_string = body.string
    elif body.bytes is not None:
        action.body.inline_bytes = base64.b64decode(body.bytes)
    return action
