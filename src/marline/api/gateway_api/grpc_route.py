"""GRPCRoute (gateway-api.sigs.k8s.io, v1)."""

import re
from typing import Annotated, Final, Literal

from msgspec import Meta

from marline.api.errors import Fault
from marline.api.faults import Faults
from marline.api.gateway_api import route_rules
from marline.api.gateway_api.shared import (
    BackendObjectReference,
    HeaderMatch,
    HTTPHeaderFilter,
    HTTPRequestMirrorFilter,
    LocalObjectReference,
    ParentReference,
    SessionPersistence,
)
from marline.api.model import Model
from marline.api.resource import Resource


class GRPCMethodMatch(Model, frozen=True):
    type: Literal["Exact", "RegularExpression"] = "Exact"
    service: str | None = None
    method: str | None = None


class GRPCRouteMatch(Model, frozen=True):
    method: GRPCMethodMatch | None = None
    headers: tuple[HeaderMatch, ...] = ()


class GRPCRouteFilter(Model, frozen=True):
    type: Literal["RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "ExtensionRef"]
    request_header_modifier: HTTPHeaderFilter | None = None
    response_header_modifier: HTTPHeaderFilter | None = None
    request_mirror: HTTPRequestMirrorFilter | None = None
    extension_ref: LocalObjectReference | None = None


class GRPCBackendRef(BackendObjectReference, frozen=True):
    weight: Annotated[int, Meta(ge=0, le=1_000_000)] = 1
    filters: tuple[GRPCRouteFilter, ...] = ()


class GRPCRouteRule(Model, frozen=True):
    name: str | None = None
    matches: tuple[GRPCRouteMatch, ...] = ()
    filters: tuple[GRPCRouteFilter, ...] = ()
    backend_refs: tuple[GRPCBackendRef, ...] = ()
    session_persistence: SessionPersistence | None = None


class GRPCRouteSpec(Model, frozen=True):
    parent_refs: tuple[ParentReference, ...] = ()
    hostnames: tuple[str, ...] = ()
    rules: tuple[GRPCRouteRule, ...] = ()
    use_default_gateways: Literal["All", "None"] | None = None


_SERVICE: Final = re.compile(r"\.?[A-Za-z_][A-Za-z_0-9]*(\.[A-Za-z_][A-Za-z_0-9]*)*")
_METHOD: Final = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


def validate(resource: Resource[GRPCRouteSpec], faults: Faults) -> None:
    """The schema's and the CEL rules of GRPCRoute's CRD."""
    spec = resource.spec
    route_rules.route(spec, faults)
    for index, rule in enumerate(spec.rules):
        _rule(rule, faults.at("rules").item(index))


def _rule(rule: GRPCRouteRule, faults: Faults) -> None:
    for index, match in enumerate(rule.matches):
        where = faults.at("matches").item(index)
        if match.method is not None:
            _method(match.method, where.at("method"))
        route_rules.header_matches(match.headers, where.at("headers"))
    _filters(rule.filters, faults.at("filters"))
    if rule.session_persistence is not None:
        route_rules.session(rule.session_persistence, faults.at("sessionPersistence"))
    route_rules.limited(rule.backend_refs, route_rules.MAX_ITEMS, faults.at("backendRefs"))
    for index, backend in enumerate(rule.backend_refs):
        where = faults.at("backendRefs").item(index)
        route_rules.backend(backend, where)
        _filters(backend.filters, where.at("filters"))


def _method(method: GRPCMethodMatch, faults: Faults) -> None:
    if not (method.service or method.method):
        faults.add("expected service, method or both", Fault.REQUIRED)
    for name, value, form in (("service", method.service, _SERVICE), ("method", method.method, _METHOD)):
        if value is None:
            continue
        if method.type == "Exact" and (len(value) > 1024 or not form.fullmatch(value)):
            faults.at(name).add(f"{value!r} is not the name of a gRPC {name}")


def _filters(filters: tuple[GRPCRouteFilter, ...], faults: Faults) -> None:
    route_rules.limited(filters, route_rules.MAX_ITEMS, faults)
    kinds = [item.type for item in filters]
    for index, item in enumerate(filters):
        where = faults.item(index)
        if item.type.endswith("HeaderModifier") and item.type in kinds[:index]:
            where.add(f"a filter of type {item.type} is there twice")
        given: dict[str, object] = {
            "RequestHeaderModifier": item.request_header_modifier,
            "ResponseHeaderModifier": item.response_header_modifier,
            "RequestMirror": item.request_mirror,
            "ExtensionRef": item.extension_ref,
        }
        route_rules.typed_once(given, item.type, where)
        if item.request_header_modifier is not None:
            route_rules.header_filter(item.request_header_modifier, where.at("requestHeaderModifier"))
        if item.response_header_modifier is not None:
            route_rules.header_filter(item.response_header_modifier, where.at("responseHeaderModifier"))
        if item.request_mirror is not None:
            route_rules.mirror(item.request_mirror, where.at("requestMirror"))
