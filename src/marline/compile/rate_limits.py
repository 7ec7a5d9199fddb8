"""RateLimitPolicy at Envoy: what a request is counted as, how much of it, and who counts.

envoyproxy.io, "Local rate limit" and "Rate limit" (HTTP filters), `config.route.v3.RateLimit`. Each policy
has filters of its own in the connection managers of listeners where it acts. They are disabled there, and
act where the policy does: what they count stands in the route, so that a change of it ends no connection.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from envoy.config.core.v3 import config_source_pb2
from envoy.config.route.v3 import route_components_pb2 as route_pb
from envoy.extensions.filters.http.local_ratelimit.v3 import local_rate_limit_pb2
from envoy.extensions.filters.http.ratelimit.v3 import rate_limit_pb2
from envoy.extensions.rate_limit_descriptors.expr.v3 import expr_pb2

from marline.api.networking.virtual_service import StringMatch
from marline.api.policy import descriptors
from marline.api.policy.descriptors import Quota
from marline.api.policy.rate_limit import (
    UNIT_SECONDS,
    GlobalLimits,
    Limit,
    LimitKey,
    LimitMatch,
    LimitResponse,
    RateLimitPolicySpec,
)
from marline.api.resource import Ref, Resource
from marline.api.security.claims import claim_names
from marline.compile.request_authentication import FILTER, claim_path
from marline.compile.routes_faults import fraction
from marline.compile.routes_match import header_matcher
from marline.compile.routes_targets import duration, outbound_cluster
from marline.mesh.policies import RATE_LIMIT

SERVICE_CLUSTER: Final = "ratelimit-grpc"
FILTER_NAMES: Final = ("marline.local_rate_limit/", "marline.rate_limit/")
"""How the names of its filters begin: those that count by themselves, those that ask a service."""
"""In every proxy's bootstrap: the rate-limit service that comes with the mesh."""
DOMAIN: Final = "marline"
_MAX_COUNTS: Final = 10_000
"""Of one policy at one listener at a time, local limits; the least recently used is forgotten first."""
_UNLIMITED: Final = 2**32 - 1
_NO_STAGE: Final = 10
"""Where nothing stands in routes: what the filter of global limits is to count, routes tell it alone, and the
local limits that stand there are nothing to it."""
_ABSENT: Final = '"-"'
_CALLER: Final = "connection.uri_san_peer_certificate"


@dataclass(frozen=True, slots=True)
class RateLimiter:
    """A policy where it acts."""

    resource: Resource[RateLimitPolicySpec]

    @property
    def ref(self) -> Ref:
        return self.resource.ref

    @property
    def spec(self) -> RateLimitPolicySpec:
        return self.resource.spec

    @property
    def name(self) -> str:
        return f"{self.ref.namespace}/{self.ref.name}"

    @property
    def local_limits(self) -> tuple[Limit, ...]:
        return tuple(item for item in self.spec.limits if item.scope == "Local")

    @property
    def global_limits(self) -> tuple[Limit, ...]:
        return tuple(item for item in self.spec.limits if item.scope == "Global")


@dataclass(frozen=True, slots=True)
class LimitFilter:
    """A filter of a connection manager: what of a policy cannot stand in routes."""

    name: str
    stat_prefix: str
    shadow: bool = False
    response: LimitResponse | None = None
    service: GlobalLimits | None = None
    """None, as `response` is then: it counts by itself, and its limits stand in the table of routes."""


def rate_limiter(policy: Resource[RateLimitPolicySpec] | None) -> RateLimiter | None:
    return RateLimiter(policy) if policy is not None else None


def limit_filters(limiters: Iterable[RateLimiter]) -> tuple[LimitFilter, ...]:
    """The filters that some policies need, each once."""
    found: dict[str, LimitFilter] = {}
    for limiter in limiters:
        prefix = _stat_prefix(limiter)
        if limiter.local_limits:
            name = _local_name(limiter)
            found[name] = LimitFilter(name, prefix)
        if limiter.global_limits:
            name, spec = _global_name(limiter), limiter.spec
            shadow = spec.mode == "Shadow"
            found[name] = LimitFilter(name, prefix, shadow, spec.response, spec.global_limits)
    return tuple(found.values())


def _local_name(limiter: RateLimiter) -> str:
    return f"{FILTER_NAMES[0]}{limiter.name}"


def _global_name(limiter: RateLimiter) -> str:
    return f"{FILTER_NAMES[1]}{limiter.name}"


def build_filter(wanted: LimitFilter) -> Any:
    """The configuration of a filter, which is to be disabled."""
    if wanted.service is None or wanted.response is None:
        return local_rate_limit_pb2.LocalRateLimit(stat_prefix=wanted.stat_prefix)
    made = rate_limit_pb2.RateLimit(domain=DOMAIN, stat_prefix=wanted.stat_prefix, stage=_NO_STAGE)
    made.timeout.CopyFrom(duration(wanted.service.timeout))
    made.failure_mode_deny = wanted.service.on_failure == "Deny"
    made.rate_limited_status.code = wanted.response.status_code
    if wanted.response.headers == "Draft03":
        made.enable_x_ratelimit_headers = rate_limit_pb2.RateLimit.DRAFT_VERSION_03
    if wanted.shadow:
        made.filter_enforced.default_value.CopyFrom(fraction(0))
    made.rate_limit_service.transport_api_version = config_source_pb2.ApiVersion.V3
    asked = wanted.service.service
    grpc = made.rate_limit_service.grpc_service.envoy_grpc
    grpc.cluster_name = outbound_cluster(asked.host.lower(), asked.port) if asked else SERVICE_CLUSTER
    if asked is not None:
        grpc.authority = f"{asked.host}:{asked.port}"
    return made


def limit_routes(
    routes: Iterable[Any], limiters: tuple[RateLimiter | None, ...], index: int, field: str
) -> None:
    """Let the policy of the rule with this index act on the routes that were made of it; `field` says which
    rule of which resource that is."""
    limiter = limiters[index] if limiters else None
    if limiter is not None:
        for route in routes:
            limit_route(route, limiter, field)


def limit_route(route: Any, limiter: RateLimiter, field: str) -> None:
    """Let a policy act on a route. What Envoy answers itself (redirects, direct responses) it does not
    limit."""
    if not route.HasField("route"):
        return
    route.route.rate_limits.extend(_actions(limiter, limit, field) for limit in limiter.local_limits)
    if limiter.global_limits:
        made = rate_limit_pb2.RateLimitPerRoute()
        made.rate_limits.extend(_actions(limiter, limit, field) for limit in limiter.global_limits)
        route.typed_per_filter_config[_global_name(limiter)].Pack(made)


def limit_table(table: Any, limiters: Iterable[RateLimiter]) -> None:
    """The local limits of a table's routes stand in the table, so that routes share their counts."""
    for limiter in dict.fromkeys(limiters):
        if limiter.local_limits:
            table.typed_per_filter_config[_local_name(limiter)].Pack(_local_limits(limiter))


def limit_host(host: Any, limiters: Iterable[RateLimiter]) -> None:
    """Of the policies of a table the filters do nothing at those routes of a host where they do not act. They
    are there all the same: a request may get another route by what its token says."""
    for limiter in dict.fromkeys(limiters):
        for route in host.routes if limiter.local_limits else ():
            if not _is_limited(route, limiter):
                route.typed_per_filter_config[_local_name(limiter)].Pack(_without_limit(limiter))


def limits_of(route: Any) -> Iterator[tuple[Ref, str, Any]]:
    """Read back what `limit_route` has written: the policy, the name of the limit, and what is counted."""
    counted = list(route.route.rate_limits)
    for name, config in route.typed_per_filter_config.items():
        made = rate_limit_pb2.RateLimitPerRoute()
        if name.startswith(FILTER_NAMES[1]) and config.Unpack(made):
            counted += made.rate_limits
    for item in counted:
        key = item.actions[0].generic_key if item.actions else None
        if key is not None and key.descriptor_key == descriptors.LIMIT:
            namespace, policy, limit = key.descriptor_value.split("/")
            yield Ref(*RATE_LIMIT, namespace, policy), limit, item


def _is_limited(route: Any, limiter: RateLimiter) -> bool:
    prefix = f"{limiter.name}/"
    return any(
        item.actions[0].generic_key.descriptor_value.startswith(prefix) for item in route.route.rate_limits
    )


def _without_limit(limiter: RateLimiter) -> Any:
    made = local_rate_limit_pb2.LocalRateLimit(stat_prefix=_stat_prefix(limiter))
    made.token_bucket.max_tokens = _UNLIMITED  # which Envoy demands, though nothing is enabled
    made.token_bucket.fill_interval.CopyFrom(duration(1))
    return made


def _stat_prefix(limiter: RateLimiter) -> str:
    return f"{limiter.ref.namespace}.{limiter.ref.name}"


def _local_limits(limiter: RateLimiter) -> Any:
    spec = limiter.spec
    made = local_rate_limit_pb2.LocalRateLimit(stat_prefix=_stat_prefix(limiter))
    made.status.code = spec.response.status_code
    made.filter_enabled.default_value.CopyFrom(fraction(100))
    made.filter_enforced.default_value.CopyFrom(fraction(0 if spec.mode == "Shadow" else 100))
    # A request that is for no limit takes from this one, which Envoy demands.
    made.token_bucket.max_tokens = made.token_bucket.tokens_per_fill.value = _UNLIMITED
    made.token_bucket.fill_interval.CopyFrom(duration(1))
    made.always_consume_default_token_bucket.value = False
    made.max_dynamic_descriptors.value = _MAX_COUNTS
    if spec.response.headers == "Draft03":
        made.enable_x_ratelimit_headers = 1
    # Tokens come one by one; after so long there is one again whichever limit it was.
    wait = max(math.ceil(UNIT_SECONDS[limit.unit] / limit.requests) for limit in limiter.local_limits)
    option = made.response_headers_to_add.add().header
    option.key, option.value = "retry-after", str(wait)
    for limit in limiter.local_limits:
        descriptor = made.descriptors.add()
        descriptor.entries.add(key=descriptors.LIMIT, value=f"{limiter.name}/{limit.name}")
        if limit.match is not None:
            descriptor.entries.add(key="match", value="true")
        for key in limit.by:
            # Without a value: each value has a bucket of its own.
            descriptor.entries.add(key=key_name(key))
        descriptor.token_bucket.max_tokens = limit.burst or limit.requests
        descriptor.token_bucket.tokens_per_fill.value = limit.requests
        descriptor.token_bucket.fill_interval.CopyFrom(duration(UNIT_SECONDS[limit.unit]))
    return made


def _actions(limiter: RateLimiter, limit: Limit, field: str) -> Any:
    """What a request is counted as. A request that does not fulfil the limit's conditions is not."""
    made = route_pb.RateLimit()
    _add_constant(made, descriptors.LIMIT, f"{limiter.name}/{limit.name}")
    if limit.scope == "Global":
        quota = Quota(limit.requests, UNIT_SECONDS[limit.unit], limiter.spec.mode == "Shadow")
        _add_constant(made, descriptors.QUOTA, str(quota))
    if limit.match is not None:
        match = made.actions.add().header_value_match
        match.descriptor_key, match.descriptor_value = "match", "true"
        match.headers.extend(_conditions(limit.match))
    for key in limit.by:
        _add_key(made, key, field)
    return made


def _add_constant(made: Any, key: str, value: str) -> None:
    action = made.actions.add().generic_key
    action.descriptor_key, action.descriptor_value = key, value


def key_name(key: LimitKey) -> str:
    """The key of a descriptor's entry."""
    names = {
        "Route": "route",
        "Header": f"header.{key.name.lower()}",
        "Caller": "caller",
        "CallerNamespace": descriptors.CALLER_NAMESPACE,
        "RemoteAddress": "remote_address",
        "JWTClaim": f"claim.{key.name}",
    }
    return names[key.type]


def _add_key(made: Any, key: LimitKey, field: str) -> None:
    if key.type == "Route":
        _add_constant(made, key_name(key), field)
    elif key.type == "RemoteAddress":
        made.actions.add().remote_address.SetInParent()
    elif key.type == "Header":
        name = f'"{key.name.lower()}"'
        found = f"{name} in request.headers ? request.headers[{name}] : {_ABSENT}"
        _add_expression(made, key_name(key), found)
    elif key.type == "JWTClaim":
        _add_expression(made, key_name(key), _claim(claim_names(key.name) or ()))
    else:
        _add_expression(made, key_name(key), f"has({_CALLER}) ? {_CALLER} : {_ABSENT}")


def _claim(names: tuple[str, ...]) -> str:
    """A verified token's claim, as text. An expression that fails would let the request go uncounted."""
    value = f"metadata.filter_metadata[{_quoted(FILTER)}]"
    held = [f"{_quoted(FILTER)} in metadata.filter_metadata"]
    for name in claim_path(names):
        held += [f"type({value}) == map", f"{_quoted(name)} in {value}"]
        value = f"{value}[{_quoted(name)}]"
    return f"{' && '.join(held)} ? {value} : {_ABSENT}"


def _quoted(text: str) -> str:
    return json.dumps(text)


def _add_expression(made: Any, key: str, text: str) -> None:
    """By CEL, since Envoy's plain actions let a request without the header go uncounted."""
    action = made.actions.add().extension
    action.name = "envoy.rate_limit_descriptors.expr"
    action.typed_config.Pack(expr_pb2.Descriptor(descriptor_key=key, text=text))


def _conditions(match: LimitMatch) -> Iterator[Any]:
    if match.methods:
        yield header_matcher(":method", StringMatch(regex="|".join(match.methods)))
    if match.path is not None:
        yield header_matcher(":path", _with_query(match.path))
    for name, value in sorted(match.headers.items()):
        yield header_matcher(name, value)


def _with_query(path: StringMatch) -> StringMatch:
    """To Envoy the query is part of the path."""
    if path.prefix is not None:
        return path
    wanted = re.escape(path.exact) if path.exact is not None else f"(?:{path.regex})"
    return StringMatch(regex=rf"{wanted}(?:\?.*)?")
