"""Retries and timeouts of routes: Istio's defaults, and what a rule says instead."""

from typing import Any, Final

from envoy.config.route.v3 import route_components_pb2 as route_pb
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.extensions.retry.priority.previous_priorities.v3 import previous_priorities_config_pb2

from marline.api.networking.virtual_service import HTTPRetry
from marline.compile.routes_targets import duration

DEFAULT_RETRY_ON: Final = "connect-failure,refused-stream,unavailable,cancelled"
DEFAULT_ATTEMPTS: Final = 2
"""istio.io, VirtualService reference, `HTTPRoute.retries`: twice, for failures that did not reach the
application. A 503 may be its own answer, so it is not among them (since Istio 1.24)."""
HOST_SELECTION_ATTEMPTS: Final = 5


def retry_policy(retries: HTTPRetry | None, *, hashed: bool) -> Any | None:
    """The Envoy `RetryPolicy` of a rule; None when the rule turns retries off (`attempts: 0`).

    `hashed`: the destination uses consistent hashing. Then a retry stays on the host that the hash
    names, unless the rule says `retryIgnorePreviousHosts: true`.
    """
    if retries is not None and retries.attempts == 0:
        return None
    policy = route_pb.RetryPolicy()
    policy.num_retries.value = DEFAULT_ATTEMPTS if retries is None else retries.attempts
    policy.retry_on = DEFAULT_RETRY_ON
    avoid_previous = not hashed
    if retries is not None:
        if retries.retry_on:
            _set_conditions(policy, retries.retry_on)
        if retries.per_try_timeout is not None:
            policy.per_try_timeout.CopyFrom(duration(retries.per_try_timeout))
        if retries.backoff is not None:
            policy.retry_back_off.base_interval.CopyFrom(duration(retries.backoff))
        if retries.retry_remote_localities:
            _spread_over_priorities(policy)
        if retries.retry_ignore_previous_hosts is not None:
            avoid_previous = retries.retry_ignore_previous_hosts
    if avoid_previous:
        _avoid_previous_hosts(policy)
    return policy


def _set_conditions(policy: Any, retry_on: str) -> None:
    """Conditions and HTTP status codes are written in one list in Istio; Envoy wants them apart."""
    tokens = [token.strip() for token in retry_on.split(",") if token.strip()]
    codes = [int(token) for token in tokens if token.isdigit()]
    conditions = [token for token in tokens if not token.isdigit()]
    if codes and "retriable-status-codes" not in conditions:
        conditions.append("retriable-status-codes")
    policy.retry_on = ",".join(conditions)
    policy.retriable_status_codes.extend(codes)


def _avoid_previous_hosts(policy: Any) -> None:
    predicate = policy.retry_host_predicate.add(name="envoy.retry_host_predicates.previous_hosts")
    predicate.typed_config.Pack(previous_hosts_pb2.PreviousHostsPredicate())
    policy.host_selection_retry_max_attempts = HOST_SELECTION_ATTEMPTS


def _spread_over_priorities(policy: Any) -> None:
    policy.retry_priority.name = "envoy.retry_priorities.previous_priorities"
    policy.retry_priority.typed_config.Pack(
        previous_priorities_config_pb2.PreviousPrioritiesConfig(update_frequency=2)
    )


def set_timeout(action: Any, seconds: float | None) -> None:
    """The time for the whole request, retries included; None or 0: no limit, as in Istio (Envoy's own
    default would be 15 s). `max_stream_duration` stays unset: with it Envoy ignores this timeout."""
    action.timeout.CopyFrom(duration(seconds or 0.0))
