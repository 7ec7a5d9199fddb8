"""ResiliencePolicy at Envoy: which one counts for a port, and the filters of the service's own proxies.

envoyproxy.io, "Adaptive concurrency" and "Admission control" (HTTP filters).
"""

from collections.abc import Iterator
from typing import Any, Final

from envoy.extensions.filters.http.adaptive_concurrency.v3 import adaptive_concurrency_pb2
from envoy.extensions.filters.http.admission_control.v3 import admission_control_pb2

from marline.api.policy.resilience import (
    AdaptiveConcurrency,
    AdmissionControl,
    Hedging,
    MinimumLatency,
    ResiliencePolicySpec,
    RetryBudget,
    SuccessCriteria,
)
from marline.api.policy.statuses import GRPC_STATUSES
from marline.api.resource import Resource
from marline.compile.routes_targets import duration
from marline.mesh.model import Service
from marline.mesh.policies import RESILIENCE
from marline.mesh.snapshot import MeshSnapshot

CONCURRENCY_FILTER: Final = "envoy.filters.http.adaptive_concurrency"
ADMISSION_FILTER: Final = "envoy.filters.http.admission_control"
_RUNTIME: Final = "marline.admission_control"
"""Envoy demands a runtime key beside each value. Nothing sets these."""


def resilience_policy(
    snapshot: MeshSnapshot, service: Service, port_name: str
) -> Resource[ResiliencePolicySpec] | None:
    """The policy that counts for a port: its own before that of the whole service."""
    return snapshot.policy(RESILIENCE, service.source, port_name, None)


def hedging(snapshot: MeshSnapshot, service: Service | None, number: int) -> Hedging | None:
    """How calls of a port are hedged."""
    port = service.port(number) if service is not None else None
    if service is None or port is None:
        return None
    policy = resilience_policy(snapshot, service, port.name)
    return policy.spec.hedging if policy is not None else None


def retry_budget(policy: Resource[ResiliencePolicySpec] | None) -> RetryBudget:
    """The budget of a service's clusters where no DestinationRule says one; every service has one."""
    given = policy.spec.retry_budget if policy is not None else None
    return given or RetryBudget()


def protection_filters(
    admission: AdmissionControl | None, concurrency: AdaptiveConcurrency | None
) -> Iterator[tuple[str, Any]]:
    """HTTP filters by name, in their order: chance turns away first, then what is left is counted."""
    if admission is not None:
        yield ADMISSION_FILTER, _admission_control(admission)
    if concurrency is not None:
        yield CONCURRENCY_FILTER, _adaptive_concurrency(concurrency)


def _adaptive_concurrency(settings: AdaptiveConcurrency) -> Any:
    made = adaptive_concurrency_pb2.AdaptiveConcurrency()
    made.concurrency_limit_exceeded_status.code = settings.status_code
    gradient = made.gradient_controller_config
    gradient.sample_aggregate_percentile.value = settings.percentile
    gradient.concurrency_limit_params.max_concurrency_limit.value = settings.max_concurrency
    interval = gradient.concurrency_limit_params.concurrency_update_interval
    interval.CopyFrom(duration(settings.sample_interval))
    latency, measuring = settings.minimum_latency or MinimumLatency(), gradient.min_rtt_calc_params
    if latency.fixed is not None:
        measuring.fixed_value.CopyFrom(duration(latency.fixed))
    else:
        measuring.interval.CopyFrom(duration(latency.interval))
    measuring.request_count.value = latency.requests
    measuring.min_concurrency.value = settings.min_concurrency
    return made


def _admission_control(settings: AdmissionControl) -> Any:
    made = admission_control_pb2.AdmissionControl()
    made.sampling_window.CopyFrom(duration(settings.sampling_window))
    made.aggression.default_value = settings.aggression
    made.aggression.runtime_key = f"{_RUNTIME}.aggression"
    made.sr_threshold.default_value.value = settings.success_threshold
    made.sr_threshold.runtime_key = f"{_RUNTIME}.success_threshold"
    made.rps_threshold.default_value = settings.minimum_requests_per_second
    made.rps_threshold.runtime_key = f"{_RUNTIME}.minimum_requests_per_second"
    made.max_rejection_probability.default_value.value = settings.max_rejection_percent
    made.max_rejection_probability.runtime_key = f"{_RUNTIME}.max_rejection_percent"
    criteria = settings.success or SuccessCriteria()
    made.success_criteria.SetInParent()
    for item in criteria.http_statuses:
        made.success_criteria.http_criteria.http_success_status.add(start=item.first, end=item.last + 1)
    if criteria.grpc_statuses:
        numbers = (GRPC_STATUSES.index(status) for status in criteria.grpc_statuses)
        made.success_criteria.grpc_criteria.grpc_success_status.extend(numbers)
    return made
