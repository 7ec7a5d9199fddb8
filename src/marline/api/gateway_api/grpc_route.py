"""GRPCRoute (gateway-api.sigs.k8s.io, v1)."""

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
    SessionPersistence,
)
from marline.api.model import Model
from marline.api.refusals import Refusals
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


REFUSED: Final[Refusals] = {}


def validate(resource: Resource[GRPCRouteSpec], faults: Faults) -> None:
    """The Gateway API's rules for this kind."""
