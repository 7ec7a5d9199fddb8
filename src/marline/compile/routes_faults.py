"""Fault injection and CORS of a rule, as configuration of Envoy's filters for one route."""

from typing import Any, Final

from envoy.extensions.filters.common.fault.v3 import fault_pb2 as fault_common_pb
from envoy.extensions.filters.http.cors.v3 import cors_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.type.v3 import percent_pb2

from marline.api.networking.virtual_service import Abort, CorsPolicy, Delay, HTTPFaultInjection, Percent
from marline.api.networking.virtual_service_actions import GRPC_STATUSES
from marline.compile.routes_match import string_matcher
from marline.compile.routes_targets import duration

FAULT_FILTER: Final = "envoy.filters.http.fault"
CORS_FILTER: Final = "envoy.filters.http.cors"


def fraction(percent: float) -> Any:
    """A percentage (0..100) with four digits after the point: Envoy counts in millionths."""
    return percent_pb2.FractionalPercent(
        numerator=round(percent * 10_000), denominator=percent_pb2.FractionalPercent.MILLION
    )


def fault(injection: HTTPFaultInjection) -> Any:
    """Envoy's `HTTPFault`. A fault without percentage befalls no request (istio.io, reference)."""
    made = fault_pb2.HTTPFault()
    if injection.delay is not None:
        _delay(made, injection.delay)
    if injection.abort is not None:
        _abort(made, injection.abort)
    return made


def _delay(made: Any, delay: Delay) -> None:
    if delay.fixed_delay is None:
        return
    made.delay.CopyFrom(
        fault_common_pb.FaultDelay(
            fixed_delay=duration(delay.fixed_delay), percentage=_share(delay.percentage, delay.percent)
        )
    )


def _abort(made: Any, abort: Abort) -> None:
    made.abort.percentage.CopyFrom(_share(abort.percentage, 0))
    if abort.grpc_status is not None:
        made.abort.grpc_status = GRPC_STATUSES.index(abort.grpc_status)
    elif abort.http_status is not None:
        made.abort.http_status = abort.http_status


def _share(percentage: Percent | None, whole: int) -> Any:
    return fraction(percentage.value if percentage is not None else whole)


def cors(policy: CorsPolicy) -> Any:
    """Envoy's per-route `CorsPolicy`. Preflights of unknown origins go to the application unless the
    rule says `unmatchedPreflights: IGNORE`."""
    made = cors_pb2.CorsPolicy()
    for match in policy.allow_origins:
        made.allow_origin_string_match.append(string_matcher(match))
    for origin in policy.allow_origin if not policy.allow_origins else ():
        made.allow_origin_string_match.add(exact=origin)
    made.allow_methods = ",".join(policy.allow_methods)
    made.allow_headers = ",".join(policy.allow_headers)
    made.expose_headers = ",".join(policy.expose_headers)
    if policy.max_age is not None:
        made.max_age = str(int(policy.max_age))
    if policy.allow_credentials is not None:
        made.allow_credentials.value = policy.allow_credentials
    made.forward_not_matching_preflights.value = policy.unmatched_preflights != "IGNORE"
    made.filter_enabled.default_value.CopyFrom(fraction(100))
    return made
