"""VirtualService: how requests to a host are routed (istio.io, "Virtual Service" reference).

The model and what of it is refused; `virtual_service_rules` has the rules that it must fulfil.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta

from marline.api.model import Model
from marline.api.refusals import Refusals
from marline.api.scalars import Duration

PortNumber = Annotated[int, Meta(ge=0, le=65535)]
Share = Annotated[float, Meta(ge=0, le=100)]


class PortSelector(Model, frozen=True):
    number: PortNumber = 0


class Destination(Model, frozen=True):
    """A service to send to: its host, a subset of its DestinationRule, one of its ports."""

    host: str
    subset: str = ""
    port: PortSelector | None = None


class StringMatch(Model, frozen=True):
    """Exactly one of the three."""

    exact: str | None = None
    prefix: str | None = None
    regex: str | None = None


class HeaderOperations(Model, frozen=True):
    set: dict[str, str] = {}
    add: dict[str, str] = {}
    remove: tuple[str, ...] = ()


class Headers(Model, frozen=True):
    request: HeaderOperations | None = None
    response: HeaderOperations | None = None


class HTTPRouteDestination(Model, frozen=True):
    destination: Destination
    weight: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    headers: Headers | None = None


class RouteDestination(Model, frozen=True):
    destination: Destination
    weight: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0


class HTTPMatchRequest(Model, frozen=True):
    """All conditions of one match must hold; the matches of a rule are alternatives."""

    name: str = ""
    uri: StringMatch | None = None
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: dict[str, StringMatch] = {}
    port: PortNumber = 0
    source_labels: dict[str, str] = {}
    gateways: tuple[str, ...] = ()
    query_params: dict[str, StringMatch] = {}
    ignore_uri_case: bool = False
    without_headers: dict[str, StringMatch] = {}
    source_namespace: str = ""
    stat_prefix: str = ""


class Delegate(Model, frozen=True):
    """A VirtualService without hosts, whose `http` rules stand in for a rule."""

    name: str = ""
    namespace: str = ""
    """"": the namespace of the VirtualService that delegates."""


class HTTPRedirect(Model, frozen=True):
    uri: str = ""
    authority: str = ""
    port: Annotated[int, Meta(ge=0, le=65535)] | None = None
    derive_port: Literal["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"] | None = None
    scheme: str = ""
    redirect_code: int = 0


class HTTPBody(Model, frozen=True):
    string: str | None = None
    bytes: str | None = None
    """Base64, as protobuf's JSON mapping writes bytes."""


class HTTPDirectResponse(Model, frozen=True):
    status: Annotated[int, Meta(ge=200, le=599)]
    body: HTTPBody | None = None


class RegexRewrite(Model, frozen=True):
    match: str = ""
    rewrite: str = ""


class HTTPRewrite(Model, frozen=True):
    uri: str = ""
    authority: str = ""
    uri_regex_rewrite: RegexRewrite | None = None


class HTTPRetry(Model, frozen=True):
    attempts: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    per_try_timeout: Duration | None = None
    retry_on: str = ""
    retry_remote_localities: bool | None = None
    retry_ignore_previous_hosts: bool | None = None
    backoff: Duration | None = None


class Percent(Model, frozen=True):
    value: Share = 0.0


class Delay(Model, frozen=True):
    percent: Annotated[int, Meta(ge=0, le=100)] = 0
    fixed_delay: Duration | None = None
    exponential_delay: Duration | None = None
    percentage: Percent | None = None


class Abort(Model, frozen=True):
    http_status: Annotated[int, Meta(ge=200, le=599)] | None = None
    grpc_status: str | None = None
    http2_error: str | None = None
    percentage: Percent | None = None


class HTTPFaultInjection(Model, frozen=True):
    delay: Delay | None = None
    abort: Abort | None = None


class HTTPMirrorPolicy(Model, frozen=True):
    destination: Destination
    percentage: Percent | None = None


class CorsPolicy(Model, frozen=True):
    allow_origin: tuple[str, ...] = ()
    allow_origins: tuple[StringMatch, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: Duration | None = None
    allow_credentials: bool | None = None
    unmatched_preflights: Literal["UNSPECIFIED", "FORWARD", "IGNORE"] = "UNSPECIFIED"


class HTTPRoute(Model, frozen=True):
    """A rule: the first whose match holds decides."""

    name: str = ""
    match: tuple[HTTPMatchRequest, ...] = ()
    route: tuple[HTTPRouteDestination, ...] = ()
    redirect: HTTPRedirect | None = None
    direct_response: HTTPDirectResponse | None = None
    delegate: Delegate | None = None
    rewrite: HTTPRewrite | None = None
    timeout: Duration | None = None
    retries: HTTPRetry | None = None
    fault: HTTPFaultInjection | None = None
    mirror: Destination | None = None
    mirrors: tuple[HTTPMirrorPolicy, ...] = ()
    mirror_percent: Annotated[int, Meta(ge=0, le=100)] | None = None
    mirror_percentage: Percent | None = None
    cors_policy: CorsPolicy | None = None
    headers: Headers | None = None


class L4MatchAttributes(Model, frozen=True):
    destination_subnets: tuple[str, ...] = ()
    port: PortNumber = 0
    source_subnet: str = ""
    source_labels: dict[str, str] = {}
    gateways: tuple[str, ...] = ()
    source_namespace: str = ""


class TCPRoute(Model, frozen=True):
    match: tuple[L4MatchAttributes, ...] = ()
    route: tuple[RouteDestination, ...] = ()


class TLSMatchAttributes(Model, frozen=True):
    sni_hosts: tuple[str, ...]
    destination_subnets: tuple[str, ...] = ()
    port: PortNumber = 0
    source_labels: dict[str, str] = {}
    gateways: tuple[str, ...] = ()
    source_namespace: str = ""


class TLSRoute(Model, frozen=True):
    match: tuple[TLSMatchAttributes, ...] = ()
    route: tuple[RouteDestination, ...] = ()


class VirtualServiceSpec(Model, frozen=True):
    """With `hosts` it routes what is for them; without it has rules for others to delegate to."""

    hosts: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    http: tuple[HTTPRoute, ...] = ()
    tls: tuple[TLSRoute, ...] = ()
    tcp: tuple[TCPRoute, ...] = ()
    export_to: tuple[str, ...] = ()


REFUSED: Final[Refusals] = {
    "http[].fault.delay.exponentialDelay": "Istio itself leaves it unimplemented; use fixedDelay",
    "http[].fault.abort.http2Error": "Istio itself leaves it unimplemented; use httpStatus or grpcStatus",
}
