"""What the CRDs of HTTPRoute and GRPCRoute admit and Envoy, or Marline, cannot do.

A rule with such a value is not half obeyed: its requests get an error, as far as they can be told, and the
route's status says why (gateway-api.sigs.k8s.io, `HTTPRouteFilter`: a filter that cannot be applied must
not be skipped; `RouteConditionPartiallyInvalid`).
"""

from functools import lru_cache

from marline.api import rules
from marline.api.faults import Faults
from marline.api.gateway_api.http_route import (
    HTTPRouteFilter,
    HTTPRouteMatch,
    HTTPRouteRule,
    HTTPRouteSpec,
)
from marline.api.gateway_api.shared import HeaderMatch, SessionPersistence


def unsupported_rules(spec: HTTPRouteSpec) -> dict[int, str]:
    """Which rules cannot be applied, by their index, with a sentence on each."""
    found = {index: rule_fault(rule, index) for index, rule in enumerate(spec.rules)}
    return {index: fault for index, fault in found.items() if fault}


@lru_cache(maxsize=4096)
def rule_fault(rule: HTTPRouteRule, index: int) -> str:
    """What is unsupported in a rule; "" when nothing is."""
    faults = Faults().at("spec").at("rules").item(index)
    for number, match in enumerate(rule.matches):
        _match(match, faults.at("matches").item(number))
    _filters(rule.filters, faults.at("filters"))
    _together(rule.filters, faults.at("filters"))
    for number, backend in enumerate(rule.backend_refs):
        where = faults.at("backendRefs").item(number).at("filters")
        _filters(backend.filters, where)
        _together((*rule.filters, *backend.filters), where)
    if rule.session_persistence is not None:
        several = sum(backend.weight > 0 for backend in rule.backend_refs) > 1
        _session(rule.session_persistence, several, faults.at("sessionPersistence"))
    return "; ".join(f"{error.path}: {error.message}" for error in faults.errors)


@lru_cache(maxsize=4096)
def match_fault(match: HTTPRouteMatch) -> bool:
    """Is there no way to tell which requests are meant?"""
    faults = Faults()
    _match(match, faults)
    return bool(faults.errors)


def _match(match: HTTPRouteMatch, faults: Faults) -> None:
    if match.method == "CONNECT":
        faults.at("method").add("tunnels are not supported")
    if match.path is not None and match.path.type == "RegularExpression":
        rules.regex(match.path.value, faults.at("path").at("value"))
    _expressions(match.headers, faults.at("headers"))
    _expressions(match.query_params, faults.at("queryParams"))


def _expressions(matches: tuple[HeaderMatch, ...], faults: Faults) -> None:
    for index, match in enumerate(matches):
        if match.type == "RegularExpression":
            rules.regex(match.value, faults.item(index).at("value"))


def _filters(filters: tuple[HTTPRouteFilter, ...], faults: Faults) -> None:
    for index, item in enumerate(filters):
        where = faults.item(index)
        if item.type == "ExtensionRef":
            where.at("extensionRef").add("no filter is a resource of its own")
        elif item.request_header_modifier is not None:
            for number, name in enumerate(item.request_header_modifier.remove):
                if name.lower() == "host":
                    where.at("requestHeaderModifier").at("remove").item(number).add(
                        "a request cannot be without its Host"
                    )


def _together(filters: tuple[HTTPRouteFilter, ...], faults: Faults) -> None:
    """What filters cannot do beside each other."""
    kinds = {item.type for item in filters}
    if {"CORS", "RequestRedirect"} <= kinds:
        faults.add("CORS is not supported beside RequestRedirect: Envoy's redirects carry no such headers")
    if sum(item.external_auth is not None for item in filters) > 1:
        faults.add("one service at most can be asked whether a request may pass")


def _session(session: SessionPersistence, several: bool, faults: Faults) -> None:
    cookie = session.cookie_config
    permanent = cookie is not None and cookie.lifetime_type == "Permanent"
    if session.absolute_timeout is not None and not permanent:
        faults.at("absoluteTimeout").add(
            "is supported for cookies of lifetimeType Permanent only: Envoy keeps no time of a session"
        )
    if session.type == "Header" and several:
        faults.at("type").add("a session in a header is supported for rules with one backend only")
