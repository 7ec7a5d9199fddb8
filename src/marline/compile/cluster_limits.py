"""Limits of a cluster: connection pools, circuit breakers, outlier detection.

istio.io, "DestinationRule" reference (`ConnectionPoolSettings`, `OutlierDetection`).
"""

from typing import Any, Final

from marline.api.networking.destination_rule import (
    ConnectionPoolSettings,
    HTTPSettings,
    OutlierDetection,
    RetryBudget,
    TCPSettings,
)
from marline.api.policy.resilience import RetryBudget as PolicyBudget
from marline.compile.routes_targets import duration

_UNLIMITED: Final = 2**32 - 1
"""Envoy's own defaults are 1024 and 3; Istio has no limit unless one is written down."""
_BUDGET_PERCENT: Final = 20.0
"""Of the active requests, as in Istio and Envoy; of retries at a time at least 3, which is Envoy's own."""
_LONGEST_KEEPALIVE: Final = 32767
_MOST_PROBES: Final = 127
"""What Linux takes for TCP_KEEPIDLE, TCP_KEEPINTVL (seconds) and TCP_KEEPCNT; with more, every connection
would fail."""


def set_limits(cluster: Any, pool: ConnectionPoolSettings | None, budget: RetryBudget | None = None) -> None:
    """Circuit breakers, the connect timeout and TCP keep-alive. A retry budget replaces `maxRetries`."""
    tcp = (pool.tcp if pool is not None else None) or TCPSettings()
    http = (pool.http if pool is not None else None) or HTTPSettings()
    limits = cluster.circuit_breakers.thresholds.add(track_remaining=True)
    limits.max_connections.value = tcp.max_connections or _UNLIMITED
    limits.max_pending_requests.value = http.http1_max_pending_requests or _UNLIMITED
    limits.max_requests.value = http.http2_max_requests or _UNLIMITED
    limits.max_retries.value = http.max_retries or _UNLIMITED
    if budget is not None:
        _set_budget(limits.retry_budget, budget)
    if tcp.connect_timeout is not None:
        cluster.connect_timeout.CopyFrom(duration(tcp.connect_timeout))
    if tcp.tcp_keepalive is not None:
        keepalive = cluster.upstream_connection_options.tcp_keepalive
        keepalive.SetInParent()
        if tcp.tcp_keepalive.probes:
            keepalive.keepalive_probes.value = min(tcp.tcp_keepalive.probes, _MOST_PROBES)
        if tcp.tcp_keepalive.time is not None:
            keepalive.keepalive_time.value = _kernel_seconds(tcp.tcp_keepalive.time)
        if tcp.tcp_keepalive.interval is not None:
            keepalive.keepalive_interval.value = _kernel_seconds(tcp.tcp_keepalive.interval)


def _set_budget(made: Any, budget: RetryBudget) -> None:
    percent = _BUDGET_PERCENT if budget.percent is None else budget.percent
    made.budget_percent.value = percent
    if budget.min_retry_concurrency is not None:
        made.min_retry_concurrency.value = budget.min_retry_concurrency


def set_default_budget(cluster: Any, budget: PolicyBudget) -> None:
    """Retries at a time, as a share of all requests, unless a DestinationRule limits them: with a budget
    Envoy no longer looks at their number (envoyproxy.io, `CircuitBreakers.Thresholds.RetryBudget`)."""
    limits = cluster.circuit_breakers.thresholds[0]
    if limits.HasField("retry_budget") or limits.max_retries.value != _UNLIMITED:
        return
    limits.retry_budget.budget_percent.value = budget.percent
    limits.retry_budget.min_retry_concurrency.value = budget.min_concurrency


def _kernel_seconds(span: float) -> int:
    return max(1, min(int(span), _LONGEST_KEEPALIVE))


def set_outlier_detection(cluster: Any, settings: OutlierDetection | None) -> None:
    """Which endpoints are left out for a time. Success rates are not compared, as in Istio."""
    if settings is None:
        return
    made = cluster.outlier_detection
    made.enforcing_success_rate.value = 0
    _set_count(made, "consecutive_5xx", settings.consecutive5xx_errors)
    _set_count(made, "consecutive_gateway_failure", settings.consecutive_gateway_errors)
    if settings.split_external_local_origin_errors:
        made.split_external_local_origin_errors = True
        made.enforcing_local_origin_success_rate.value = 0
        _set_count(made, "consecutive_local_origin_failure", settings.consecutive_local_origin_failures)
    if settings.interval is not None:
        made.interval.CopyFrom(duration(settings.interval))
    if settings.base_ejection_time is not None:
        made.base_ejection_time.CopyFrom(duration(settings.base_ejection_time))
        # Envoy refuses a maximum (300 s by default) below the base.
        made.max_ejection_time.CopyFrom(duration(max(300.0, settings.base_ejection_time)))
    if settings.max_ejection_percent:
        made.max_ejection_percent.value = settings.max_ejection_percent
    if settings.min_health_percent:
        cluster.common_lb_config.healthy_panic_threshold.value = settings.min_health_percent


def _set_count(made: Any, name: str, count: int | None) -> None:
    """0 turns a criterion off; nothing said leaves Envoy's default."""
    if count is None:
        return
    if count > 0:
        getattr(made, name).value = count
    getattr(made, f"enforcing_{name}").value = 100 if count > 0 else 0
