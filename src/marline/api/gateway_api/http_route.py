"""HTTPRoute (gateway-api.sigs.k8s.io, v1)."""

import re
from typing import Annotated, Final, Literal

from msgspec import Meta

from marline.api import rules
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
    PortNumber,
    SessionPersistence,
)
from marline.api.model import Model
from marline.api.resource import Resource
from marline.api.scalars import Duration


class HTTPPathMatch(Model, frozen=True):
    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: str = "/"


class HTTPRouteMatch(Model, frozen=True):
    path: HTTPPathMatch | None = None
    headers: tuple[HeaderMatch, ...] = ()
    query_params: tuple[HeaderMatch, ...] = ()
    method: Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"] | None = (
        None
    )


class HTTPPathModifier(Model, frozen=True):
    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    replace_full_path: str | None = None
    replace_prefix_match: str | None = None


class HTTPRequestRedirectFilter(Model, frozen=True):
    scheme: Literal["http", "https"] | None = None
    hostname: str | None = None
    path: HTTPPathModifier | None = None
    port: PortNumber | None = None
    status_code: Literal[301, 302, 303, 307, 308] = 302


class HTTPURLRewriteFilter(Model, frozen=True):
    hostname: str | None = None
    path: HTTPPathModifier | None = None


class HTTPCORSFilter(Model, frozen=True):
    allow_origins: tuple[str, ...] = ()
    allow_credentials: bool | None = None
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: Annotated[int, Meta(ge=1)] = 5


class GRPCAuthConfig(Model, frozen=True):
    allowed_headers: tuple[str, ...] = ()


class HTTPAuthConfig(Model, frozen=True):
    path: str = ""
    allowed_headers: tuple[str, ...] = ()
    allowed_response_headers: tuple[str, ...] = ()


class ForwardBodyConfig(Model, frozen=True):
    max_size: Annotated[int, Meta(ge=0, le=65535)] = 0


class HTTPExternalAuthFilter(Model, frozen=True):
    protocol: Literal["HTTP", "GRPC"]
    backend_ref: BackendObjectReference
    grpc: GRPCAuthConfig | None = None
    http: HTTPAuthConfig | None = None
    forward_body: ForwardBodyConfig | None = None


class HTTPRouteFilter(Model, frozen=True):
    type: Literal[
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestMirror",
        "RequestRedirect",
        "URLRewrite",
        "ExtensionRef",
        "CORS",
        "ExternalAuth",
    ]
    request_header_modifier: HTTPHeaderFilter | None = None
    response_header_modifier: HTTPHeaderFilter | None = None
    request_mirror: HTTPRequestMirrorFilter | None = None
    request_redirect: HTTPRequestRedirectFilter | None = None
    url_rewrite: HTTPURLRewriteFilter | None = None
    cors: HTTPCORSFilter | None = None
    external_auth: HTTPExternalAuthFilter | None = None
    extension_ref: LocalObjectReference | None = None


class HTTPBackendRef(BackendObjectReference, frozen=True):
    weight: Annotated[int, Meta(ge=0, le=1_000_000)] = 1
    filters: tuple[HTTPRouteFilter, ...] = ()


class HTTPRouteTimeouts(Model, frozen=True):
    request: Duration | None = None
    backend_request: Duration | None = None


class HTTPRouteRetry(Model, frozen=True):
    codes: tuple[Annotated[int, Meta(ge=400, le=599)], ...] = ()
    attempts: Annotated[int, Meta(ge=1)] | None = None
    backoff: Duration | None = None


class HTTPRouteRule(Model, frozen=True):
    name: str | None = None
    matches: tuple[HTTPRouteMatch, ...] = ()
    filters: tuple[HTTPRouteFilter, ...] = ()
    backend_refs: tuple[HTTPBackendRef, ...] = ()
    timeouts: HTTPRouteTimeouts | None = None
    retry: HTTPRouteRetry | None = None
    session_persistence: SessionPersistence | None = None


class HTTPRouteSpec(Model, frozen=True):
    parent_refs: tuple[ParentReference, ...] = ()
    hostnames: tuple[str, ...] = ()
    rules: tuple[HTTPRouteRule, ...] = (HTTPRouteRule(),)
    use_default_gateways: Literal["All", "None"] | None = None


_ATTRIBUTES: Final = {
    "RequestHeaderModifier": "request_header_modifier",
    "ResponseHeaderModifier": "response_header_modifier",
    "RequestMirror": "request_mirror",
    "RequestRedirect": "request_redirect",
    "URLRewrite": "url_rewrite",
    "CORS": "cors",
    "ExternalAuth": "external_auth",
    "ExtensionRef": "extension_ref",
}
"""The attribute that belongs to each type of filter."""

_PATH: Final = re.compile(r"(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+")
_NOT_NORMAL: Final = ("//", "/./", "/../", "%2f", "%2F")
_REPLACEMENT: Final = re.compile(r"/[!-~]*")
_ONCE: Final = ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite", "CORS")
_ORIGIN: Final = re.compile(r"\*|https?://(((\*\.)?([a-zA-Z0-9-]+\.)*[a-zA-Z0-9-]+|\*)(:[0-9]{1,5})?)")
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*")


def validate(resource: Resource[HTTPRouteSpec], faults: Faults) -> None:
    """The schema's and the CEL rules of HTTPRoute's CRD. What Envoy cannot do is a matter of status."""
    spec = resource.spec
    route_rules.route(spec, faults)
    if not spec.rules:
        faults.at("rules").add("is empty; leave it out to match every request", Fault.REQUIRED)
    for index, rule in enumerate(spec.rules):
        _rule(rule, faults.at("rules").item(index))


def _rule(rule: HTTPRouteRule, faults: Faults) -> None:
    for index, match in enumerate(rule.matches):
        where = faults.at("matches").item(index)
        if match.path is not None:
            _path_match(match.path, where.at("path"))
        route_rules.header_matches(match.headers, where.at("headers"))
        route_rules.header_matches(match.query_params, where.at("queryParams"))
    _filters(rule.filters, rule, faults.at("filters"))
    route_rules.limited(rule.backend_refs, route_rules.MAX_ITEMS, faults.at("backendRefs"))
    for index, backend in enumerate(rule.backend_refs):
        where = faults.at("backendRefs").item(index)
        route_rules.backend(backend, where)
        _filters(backend.filters, rule, where.at("filters"))
    if rule.backend_refs and any(item.request_redirect is not None for item in rule.filters):
        faults.at("backendRefs").add("cannot be combined with a RequestRedirect filter")
    if rule.timeouts is not None:
        _timeouts(rule.timeouts, faults.at("timeouts"))
    if rule.retry is not None:
        rules.duration(rule.retry.backoff, faults.at("retry").at("backoff"), least=0)
    if rule.session_persistence is not None:
        route_rules.session(rule.session_persistence, faults.at("sessionPersistence"))


def _path_match(path: HTTPPathMatch, faults: Faults) -> None:
    where = faults.at("value")
    if path.type == "RegularExpression":
        where.require(path.value, "is empty; expected a regular expression")
    elif not path.value.startswith("/"):
        where.add(f"{path.value!r} must start with '/'")
    elif any(part in path.value for part in _NOT_NORMAL) or path.value.endswith(("/.", "/..")):
        where.add(f"{path.value!r} is not a normal path: no '//', '/./', '/../' or '%2F' in it")
    elif not _PATH.fullmatch(path.value):
        where.add(f"{path.value!r} has a character that is not allowed in a path, such as '?', '#' or ' '")
    where.require(len(path.value) <= 1024, "is longer than 1024 characters")


def _filters(filters: tuple[HTTPRouteFilter, ...], rule: HTTPRouteRule, faults: Faults) -> None:
    route_rules.limited(filters, route_rules.MAX_ITEMS, faults)
    kinds = [item.type for item in filters]
    for index, item in enumerate(filters):
        where = faults.item(index)
        if item.type in _ONCE and item.type in kinds[:index]:
            where.add(f"a filter of type {item.type} is there twice")
        _filter(item, rule, where)
    if "RequestRedirect" in kinds and "URLRewrite" in kinds:
        faults.add("expected either a RequestRedirect or a URLRewrite, found both")


def _filter(item: HTTPRouteFilter, rule: HTTPRouteRule, faults: Faults) -> None:
    given = {kind: getattr(item, attribute) for kind, attribute in _ATTRIBUTES.items()}
    route_rules.typed_once(given, item.type, faults)
    for kind in ("RequestHeaderModifier", "ResponseHeaderModifier"):
        if given[kind] is not None:
            route_rules.header_filter(given[kind], faults.at(route_rules.field_of(kind)))
    if item.request_mirror is not None:
        route_rules.mirror(item.request_mirror, faults.at("requestMirror"))
    if item.cors is not None:
        _cors(item.cors, faults.at("cors"))
    if item.external_auth is not None:
        _external_auth(item.external_auth, faults.at("externalAuth"))
    for name, change in (("requestRedirect", item.request_redirect), ("urlRewrite", item.url_rewrite)):
        if change is None:
            continue
        where = faults.at(name)
        if change.hostname is not None:
            route_rules.hostname(change.hostname, where.at("hostname"), wildcard=False)
        if change.path is not None:
            _path_modifier(change.path, rule, where.at("path"))


def _cors(policy: HTTPCORSFilter, faults: Faults) -> None:
    for name, values in (
        ("allowOrigins", policy.allow_origins),
        ("allowMethods", policy.allow_methods),
        ("allowHeaders", policy.allow_headers),
    ):
        where = faults.at(name)
        where.require(len(values) == 1 or "*" not in values, "'*' stands for all, and cannot have company")
        route_rules.limited(values, 9 if name == "allowMethods" else 64, where)
        rules.named_once(list(values), where, "value")
    for index, origin in enumerate(policy.allow_origins):
        if not _ORIGIN.fullmatch(origin):
            faults.at("allowOrigins").item(index).add(
                f"{origin!r} is not an origin: '*', or http(s)://HOST[:PORT] whose host may start with '*.'"
            )
    for index, method in enumerate(policy.allow_methods):
        if method not in _METHODS:
            faults.at("allowMethods").item(index).add(f"{method!r} is not one of {', '.join(_METHODS)}")
    for name, headers in (("allowHeaders", policy.allow_headers), ("exposeHeaders", policy.expose_headers)):
        for index, header in enumerate(headers):
            rules.header_name(header, faults.at(name).item(index))


def _external_auth(auth: HTTPExternalAuthFilter, faults: Faults) -> None:
    route_rules.typed_once({"GRPC": auth.grpc, "HTTP": auth.http}, auth.protocol, faults)
    route_rules.backend(auth.backend_ref, faults.at("backendRef"))
    if auth.http is not None and auth.http.path:
        where = faults.at("http").at("path")
        if not auth.http.path.startswith("/"):
            where.add(f"{auth.http.path!r} must start with '/'")
        elif not _PATH.fullmatch(auth.http.path):
            where.add(f"{auth.http.path!r} has a character that is not allowed in a path")
    for name, headers in (
        ("grpc.allowedHeaders", auth.grpc.allowed_headers if auth.grpc is not None else ()),
        ("http.allowedHeaders", auth.http.allowed_headers if auth.http is not None else ()),
        ("http.allowedResponseHeaders", auth.http.allowed_response_headers if auth.http is not None else ()),
    ):
        kind, _, field = name.partition(".")
        for index, header in enumerate(headers):
            rules.header_name(header, faults.at(kind).at(field).item(index))


def _path_modifier(change: HTTPPathModifier, rule: HTTPRouteRule, faults: Faults) -> None:
    full, prefix = change.replace_full_path, change.replace_prefix_match
    route_rules.typed_once({"ReplaceFullPath": full, "ReplacePrefixMatch": prefix}, change.type, faults)
    for name, value in (("replaceFullPath", full), ("replacePrefixMatch", prefix)):
        if not value and (value is None or name == "replacePrefixMatch"):
            continue
        if len(value) > 1024 or not _REPLACEMENT.fullmatch(value):
            faults.at(name).add(f"{value!r} is not a path: '/' and at most 1023 printable ASCII characters")
    if change.type == "ReplacePrefixMatch":
        paths = [match.path or HTTPPathMatch() for match in rule.matches or (HTTPRouteMatch(),)]
        if len(paths) != 1 or paths[0].type != "PathPrefix":
            faults.at("type").add(
                "ReplacePrefixMatch needs a rule with exactly one match, of type PathPrefix"
            )


def _timeouts(timeouts: HTTPRouteTimeouts, faults: Faults) -> None:
    rules.duration(timeouts.request, faults.at("request"), least=0)
    rules.duration(timeouts.backend_request, faults.at("backendRequest"), least=0)
    if timeouts.request and timeouts.backend_request and timeouts.backend_request > timeouts.request:
        faults.at("backendRequest").add(
            f"{timeouts.backend_request} is longer than the request's {timeouts.request}"
        )
