"""Faults and CORS that a route asks of Envoy's filters, which act before the router does.

Envoy documentation, "Fault Injection" and "CORS" filters.
"""

from dataclasses import dataclass
from typing import Any, Final

from envoy.extensions.filters.http.cors.v3 import cors_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2

from marline.compile.routes_faults import CORS_FILTER, FAULT_FILTER
from marline.explain.fractions import seconds, share_of
from marline.explain.patterns import fits
from marline.explain.request import CannotTell, Request, only

_GRPC_TO_HTTP: Final = {
    0: 200, 1: 499, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501,
    14: 503, 16: 401,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Faults:
    """What befalls requests of a route: shares from 0 to 1."""

    abort_share: float = 0.0
    abort_status: int = 0
    """HTTP."""
    abort_grpc_status: int | None = None
    delay_share: float = 0.0
    delay_seconds: float = 0.0


NO_FAULTS: Final = Faults()


def faults_of(route: Any) -> Faults:
    """A route's fault injection. Raises `CannotTell`."""
    if FAULT_FILTER not in route.typed_per_filter_config:
        return NO_FAULTS
    config = fault_pb2.HTTPFault()
    if not route.typed_per_filter_config[FAULT_FILTER].Unpack(config):
        raise CannotTell("a route's fault injection is of an unknown form")
    only(config, ("delay", "abort"), "a route's fault injection")
    only(config.delay, ("fixed_delay", "percentage"), "a delay")
    only(config.abort, ("http_status", "grpc_status", "percentage"), "an abort")
    grpc = config.abort.grpc_status if config.abort.WhichOneof("error_type") == "grpc_status" else None
    return Faults(
        abort_share=share_of(config.abort.percentage) if config.HasField("abort") else 0.0,
        abort_status=config.abort.http_status,
        abort_grpc_status=grpc,
        delay_share=share_of(config.delay.percentage) if config.HasField("delay") else 0.0,
        delay_seconds=seconds(config.delay.fixed_delay),
    )


def http_status_of(grpc_status: int) -> int:
    """The HTTP status of a gRPC error for callers that do not speak gRPC (Envoy's `Grpc::Utility`)."""
    return _GRPC_TO_HTTP.get(grpc_status, 500)


def answers_preflight(route: Any, request: Request) -> bool:
    """Does the CORS filter answer this request itself? Preflights of origins that it knows it does."""
    if CORS_FILTER not in route.typed_per_filter_config:
        return False
    policy = cors_pb2.CorsPolicy()
    if not route.typed_per_filter_config[CORS_FILTER].Unpack(policy):
        raise CannotTell("a route's CORS policy is of an unknown form")
    origin = request.header("origin")
    if request.method != "OPTIONS" or not origin or not request.header("access-control-request-method"):
        return False
    if any(_allows(matcher, origin) for matcher in policy.allow_origin_string_match):
        return True
    return policy.HasField("forward_not_matching_preflights") and not (
        policy.forward_not_matching_preflights.value
    )


def _allows(matcher: Any, origin: str) -> bool:
    if matcher.WhichOneof("match_pattern") == "exact" and matcher.exact == "*":
        return True
    return fits(matcher, origin)
