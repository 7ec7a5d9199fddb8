"""Which requests a rule is for: VirtualService matches as Envoy route matches.

The match kinds are those of istio.io, VirtualService reference, `HTTPMatchRequest`.
"""

from collections.abc import Mapping
from typing import Any

from envoy.config.route.v3 import route_components_pb2 as route_pb
from envoy.type.matcher.v3 import regex_pb2, string_pb2

from marline.api.networking.virtual_service import (
    HTTPMatchRequest,
    L4MatchAttributes,
    StringMatch,
    TLSMatchAttributes,
)
from marline.api.security.claims import routing_claim
from marline.compile.request_authentication import claim_matcher

_EVERYTHING = "/"


def route_match(match: HTTPMatchRequest | None) -> Any:
    """An Envoy `RouteMatch`; None (a rule without matches) is for every request."""
    made = route_pb.RouteMatch()
    if match is None:
        made.prefix = _EVERYTHING
        return made
    _match_path(made, match)
    for name, value in sorted(match.headers.items()):
        claim = routing_claim(name)
        if claim is not None:
            made.dynamic_metadata.append(_claim_matcher(claim, value))
        else:
            made.headers.append(header_matcher(name, value))
    for name, value in sorted(match.without_headers.items()):
        claim = routing_claim(name)
        if claim is not None:
            made.dynamic_metadata.append(_claim_matcher(claim, value))
            made.dynamic_metadata[-1].invert = True
        else:
            made.headers.append(_without_header(name, value))
    for pseudo, condition in (
        (":method", match.method),
        (":authority", match.authority),
        (":scheme", match.scheme),
    ):
        if condition is not None:
            made.headers.append(header_matcher(pseudo, condition))
    for name, value in sorted(match.query_params.items()):
        made.query_parameters.append(_query_matcher(name, value))
    return made


def _match_path(made: Any, match: HTTPMatchRequest) -> None:
    uri = match.uri or StringMatch(prefix=_EVERYTHING)
    if uri.exact is not None:
        made.path = uri.exact
    elif uri.regex:
        made.safe_regex.CopyFrom(regex(uri.regex))
    else:
        made.prefix = uri.prefix or _EVERYTHING
    if match.ignore_uri_case and uri.regex is None:
        made.case_sensitive.value = False


def is_presence(value: StringMatch) -> bool:
    """An empty match, or a regular expression that all values fulfil, asks for presence only."""
    if value.exact is None and value.prefix is None and value.regex is None:
        return True
    return value.prefix == "" or value.regex in ("*", ".*")


def header_matcher(name: str, value: StringMatch) -> Any:
    matcher = route_pb.HeaderMatcher(name=name)
    if is_presence(value):
        matcher.present_match = True
    else:
        matcher.string_match.CopyFrom(string_matcher(value))
    return matcher


def _claim_matcher(claim: tuple[str, ...], value: StringMatch) -> Any:
    """Is the claim of a verified token so, or has it such a member? (istio.io, "JWT claim based routing")"""
    return claim_matcher(claim, None if is_presence(value) else string_matcher(value))


def _without_header(name: str, value: StringMatch) -> Any:
    matcher = header_matcher(name, value)
    matcher.invert_match = True
    if not is_presence(value):
        # A request without the header has not this value: to Envoy only an empty value can say so.
        matcher.treat_missing_header_as_empty = True
    return matcher


def _query_matcher(name: str, value: StringMatch) -> Any:
    matcher = route_pb.QueryParameterMatcher(name=name)
    if is_presence(value):
        matcher.present_match = True
    else:
        matcher.string_match.CopyFrom(string_matcher(value))
    return matcher


def string_matcher(value: StringMatch) -> Any:
    """An Envoy `StringMatcher`. Regular expressions must match the whole value, as in Istio.

    Envoy refuses empty prefixes and expressions: one is of every value, the other of the empty one.
    """
    made = string_pb2.StringMatcher()
    if value.exact is not None:
        made.exact = value.exact
    elif value.regex:
        made.safe_regex.CopyFrom(regex(value.regex))
    elif value.prefix:
        made.prefix = value.prefix
    elif value.regex is not None:
        made.exact = ""
    else:
        made.safe_regex.CopyFrom(regex(".*"))
    return made


def regex(pattern: str) -> Any:
    """An RE2 expression; Envoy requires a full match."""
    return regex_pb2.RegexMatcher(regex=pattern)


def is_catch_all(match: HTTPMatchRequest | None) -> bool:
    """True when nothing is left for the rules that follow: they are not sent to Envoy."""
    if match is None:
        return True
    conditions = (match.headers, match.without_headers, match.query_params)
    if any(conditions) or match.method or match.authority or match.scheme:
        return False
    uri = match.uri
    if uri is None:
        return True
    return uri.prefix == "/" or uri.regex in ("*", ".*", "/.*")


def applies(
    match: HTTPMatchRequest | L4MatchAttributes | TLSMatchAttributes,
    gateways: frozenset[str],
    *,
    port: int,
    gateway: str,
    labels: Mapping[str, str],
    namespace: str,
) -> bool:
    """Does a match hold for this listener and this workload, whatever the request?

    `gateway` is `mesh` or `<namespace>/<name>`, and so are the names in `gateways`, which the match
    names. Labels and namespace are the workload's whose proxy this is.
    """
    if match.port and match.port != port:
        return False
    if gateways and gateway not in gateways:
        return False
    if gateways and isinstance(match, HTTPMatchRequest):
        # "The gateway match is independent of sourceLabels" (`HTTPMatchRequest.gateways`).
        return True
    if match.source_namespace and match.source_namespace != namespace:
        return False
    return all(labels.get(key) == value for key, value in match.source_labels.items())
