"""HTTPRoute (gateway-api.sigs.k8s.io, v1)."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from marline.api.faults import Faults
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
from marline.api.refusals import Refusals
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
    max_age: int = 5


class HTTPRouteFilter(Model, frozen=True):
    type: Literal[
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestMirror",
        "RequestRedirect",
        "URLRewrite",
        "ExtensionRef",
        "CORS",
    ]
    request_header_modifier: HTTPHeaderFilter | None = None
    response_header_modifier: HTTPHeaderFilter | None = None
    request_mirror: HTTPRequestMirrorFilter | None = None
    request_redirect: HTTPRequestRedirectFilter | None = None
    url_rewrite: HTTPURLRewriteFilter | None = None
    cors: HTTPCORSFilter | None = None
    extension_ref: LocalObjectReference | None = None


class HTTPBackendRef(BackendObjectReference, frozen=True):
    weight: Annotated[int, Meta(ge=0, le=1_000_000)] = 1
    filters: tuple[HTTPRouteFilter, ...] = ()


class HTTPRouteTimeouts(Model, frozen=True):
    request: Duration | None = None
    backend_request: Duration | None = None


class HTTPRouteRetry(Model, frozen=True):
    codes: tuple[int, ...] = ()
    attempts: int | None = None
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
    use_default_gateways: str = ""


REFUSED: Final[Refusals] = {}


def validate(resource: Resource[HTTPRouteSpec], faults: Faults) -> None:
    """The Gateway API's rules for this kind."""
