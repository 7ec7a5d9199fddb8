"""RateLimitPolicy: how many requests a service, a gateway or a route takes in a time.

Local limits are counted by each proxy, global ones for all proxies together by a rate-limit service
(envoyproxy.io, "Local rate limit" and "Rate limit" filters).
"""

from typing import Annotated, Final, Literal

from msgspec import Meta

from marline.api import rules
from marline.api.errors import Fault
from marline.api.faults import Faults
from marline.api.model import Model
from marline.api.networking.virtual_service import StringMatch
from marline.api.networking.virtual_service_actions import string_match
from marline.api.policy.statuses import ErrorStatus, error_status
from marline.api.policy.targets import ROUTES, SERVICES, LocalPolicyTargetReference, validate_targets
from marline.api.resource import Resource
from marline.api.scalars import Duration
from marline.api.security.claims import claim_names

KeyType = Literal["Route", "Header", "Caller", "CallerNamespace", "RemoteAddress", "JWTClaim"]
UNIT_SECONDS: Final = {"Second": 1, "Minute": 60, "Hour": 3600, "Day": 86400}
_MAX_LIMITS: Final = 16
_MAX_REQUESTS: Final = 2**32 - 1
_AT_SERVICES: Final = ("Caller", "CallerNamespace")
_AT_GATEWAYS: Final = ("Route", "RemoteAddress")


class LimitKey(Model, frozen=True):
    """What requests are told apart by: each value has a count of its own.

    `Caller` is the SPIFFE ID that the caller's certificate proves, `RemoteAddress` the client's address at
    a gateway, `Route` the rule that the request is routed by. `JWTClaim` is a claim of the token that a
    RequestAuthentication of the same proxy has verified. Requests without the header or claim count together.
    """

    type: KeyType
    name: str = ""
    """Of the header or claim; of nested claims `outer.inner`, or `[outer][inner]` where names have dots."""


class LimitMatch(Model, frozen=True):
    """The requests that a limit is for: those that fulfil all of it."""

    methods: tuple[str, ...] = ()
    path: StringMatch | None = None
    """Without the query."""
    headers: dict[str, StringMatch] = {}


class Limit(Model, frozen=True):
    """So many requests in a unit of time."""

    name: str
    requests: Annotated[int, Meta(ge=1, le=_MAX_REQUESTS)]
    unit: Literal["Second", "Minute", "Hour", "Day"]
    scope: Literal["Local", "Global"] = "Local"
    burst: Annotated[int, Meta(ge=1, le=_MAX_REQUESTS)] | None = None
    """Local: so many at once after a quiet time (default: `requests`). A global limit's window may be used
    up at once."""
    by: tuple[LimitKey, ...] = ()
    match: LimitMatch | None = None


class LimitResponse(Model, frozen=True):
    """What a request gets that is one too many."""

    status_code: ErrorStatus = 429
    headers: Literal["Draft03", "None"] = "Draft03"
    """`X-RateLimit-Limit`, `-Remaining` and `-Reset` on every response (IETF draft 03). Refused requests are
    told in `Retry-After` after how many seconds there is room again."""


class RateLimitServiceReference(Model, frozen=True):
    """A service of the mesh that speaks `envoy.service.ratelimit.v3`."""

    host: str
    port: Annotated[int, Meta(ge=1, le=65535)]


class GlobalLimits(Model, frozen=True):
    """How the limits with scope `Global` are asked for."""

    on_failure: Literal["Allow", "Deny"] = "Allow"
    """When the rate-limit service does not answer: let requests pass, or refuse them with a 500."""
    timeout: Duration = Duration(0.1)
    service: RateLimitServiceReference | None = None
    """Default: the one that comes with the mesh."""


class RateLimitPolicySpec(Model, frozen=True):
    target_refs: tuple[LocalPolicyTargetReference, ...]
    limits: tuple[Limit, ...]
    mode: Literal["Enforce", "Shadow"] = "Enforce"
    """`Shadow` counts, and refuses nothing."""
    response: LimitResponse = LimitResponse()
    global_limits: GlobalLimits = GlobalLimits()


def validate(resource: Resource[RateLimitPolicySpec], faults: Faults) -> None:
    """What Envoy can count, where it can be known."""
    spec = resource.spec
    validate_targets(spec.target_refs, {**SERVICES, **ROUTES}, faults.at("targetRefs"))
    where = faults.at("limits")
    if not spec.limits:
        where.add("is required: at least one", Fault.REQUIRED)
    if len(spec.limits) > _MAX_LIMITS:
        where.add(f"has {len(spec.limits)} limits; expected at most {_MAX_LIMITS}")
    rules.named_once([limit.name for limit in spec.limits], where, "limit")
    for index, limit in enumerate(spec.limits):
        _limit(limit, spec, where.item(index))
    error_status(spec.response.status_code, faults.at("response").at("statusCode"))
    settings = faults.at("globalLimits")
    rules.duration(spec.global_limits.timeout, settings.at("timeout"))
    if spec.global_limits.service is not None:
        rules.host(spec.global_limits.service.host, settings.at("service").at("host"), wildcard=False)


def _limit(limit: Limit, spec: RateLimitPolicySpec, faults: Faults) -> None:
    if faults.required(limit.name, "name"):
        rules.dns_label(limit.name, faults.at("name"))
    if limit.burst is not None and limit.scope == "Global":
        faults.at("burst").add("has no meaning with scope Global, whose windows may be used up at once")
    if limit.match is not None:
        _match(limit.match, faults.at("match"))
    targets = {(item.group, item.kind) for item in spec.target_refs}
    for index, key in enumerate(limit.by):
        _key(key, limit, targets, faults.at("by").item(index))
        if key in limit.by[:index]:
            faults.at("by").item(index).add("is there twice")


def _key(key: LimitKey, limit: Limit, targets: set[tuple[str, str]], faults: Faults) -> None:
    named = key.type in ("Header", "JWTClaim")
    if named and faults.required(key.name, "name"):
        if key.type == "Header":
            rules.header_name(key.name, faults.at("name"))
        elif claim_names(key.name) is None:
            faults.at("name").add(f"{key.name!r} is no claim; expected NAME, OUTER.INNER or [OUTER][INNER]")
    elif key.name and not named:
        faults.at("name").add(f"has no meaning with type {key.type}")
    where = faults.at("type")
    if key.type in _AT_SERVICES and any(target not in SERVICES for target in targets):
        where.add(f"{key.type} is known only at a service, by the caller's certificate; target a Service")
    if key.type in _AT_GATEWAYS and any(target in SERVICES for target in targets):
        where.add(f"{key.type} is known only at a gateway; at a service use Caller")
    if key.type == "CallerNamespace" and limit.scope == "Local":
        where.add("CallerNamespace can be counted with scope Global only; with scope Local use Caller")


def _match(match: LimitMatch, faults: Faults) -> None:
    if not (match.methods or match.path or match.headers):
        faults.add("has no condition")
    for index, method in enumerate(match.methods):
        rules.header_name(method, faults.at("methods").item(index))
    if match.path is not None:
        string_match(match.path, faults.at("path"))
    for name, value in match.headers.items():
        rules.header_name(name, faults.at("headers").key(name))
        string_match(value, faults.at("headers").key(name))
