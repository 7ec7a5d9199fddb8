"""Types that the Gateway API's kinds share (gateway-api.sigs.k8s.io reference)."""

from typing import Annotated, Literal

from msgspec import Meta

from marline.api.model import Model
from marline.api.scalars import Duration

PortNumber = Annotated[int, Meta(ge=1, le=65535)]
GROUP = "gateway.networking.k8s.io"
BUNDLE_VERSION = "v1.6.3"
CHANNEL = "experimental"
"""The release of the specification whose kinds these are; the channel that has fields such as `retry`."""


class ParentReference(Model, frozen=True):
    name: str
    group: str = GROUP
    kind: str = "Gateway"
    namespace: str | None = None
    section_name: str | None = None
    port: PortNumber | None = None


class ParentGatewayReference(Model, frozen=True):
    name: str
    group: str = GROUP
    kind: str = "Gateway"
    namespace: str | None = None


class SecretObjectReference(Model, frozen=True):
    name: str
    group: str = ""
    kind: str = "Secret"
    namespace: str | None = None


class BackendObjectReference(Model, frozen=True):
    name: str
    group: str = ""
    kind: str = "Service"
    namespace: str | None = None
    port: PortNumber | None = None


class BackendRef(BackendObjectReference, frozen=True):
    """A share of a rule's traffic; routes of HTTP have references with filters of their own."""

    weight: Annotated[int, Meta(ge=0, le=1_000_000)] = 1


class HTTPHeader(Model, frozen=True):
    name: str
    value: str


class HTTPHeaderFilter(Model, frozen=True):
    set: tuple[HTTPHeader, ...] = ()
    add: tuple[HTTPHeader, ...] = ()
    remove: tuple[str, ...] = ()


class Fraction(Model, frozen=True):
    numerator: Annotated[int, Meta(ge=0)]
    denominator: Annotated[int, Meta(ge=1)] = 100


class HTTPRequestMirrorFilter(Model, frozen=True):
    backend_ref: BackendObjectReference
    percent: Annotated[int, Meta(ge=0, le=100)] | None = None
    fraction: Fraction | None = None


class LocalObjectReference(Model, frozen=True):
    group: str
    kind: str
    name: str


class HeaderMatch(Model, frozen=True):
    name: str
    value: str
    type: Literal["Exact", "RegularExpression"] = "Exact"


class CookieConfig(Model, frozen=True):
    lifetime_type: Literal["Permanent", "Session"] = "Session"


class SessionPersistence(Model, frozen=True):
    session_name: str | None = None
    absolute_timeout: Duration | None = None
    type: Literal["Cookie", "Header"] = "Cookie"
    cookie_config: CookieConfig | None = None


class LabelSelectorRequirement(Model, frozen=True):
    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()


class LabelSelector(Model, frozen=True):
    match_labels: dict[str, str] = {}
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()
