"""ResiliencePolicy: how a service is kept from collapsing, by what Envoy has beyond Istio's API.

Attached to a service. Its callers' proxies hedge requests and limit retries; the proxies of its own
workloads limit concurrency and turn requests away (envoyproxy.io: "Adaptive concurrency", "Admission
control", "Hedging requests", "Circuit breaking").
"""

from typing import Annotated

from msgspec import Meta

from marline.api import rules
from marline.api.faults import Faults, nearest
from marline.api.model import Model
from marline.api.policy.statuses import GRPC_STATUSES, ErrorStatus, error_status
from marline.api.policy.targets import SERVICES, LocalPolicyTargetReference, validate_targets
from marline.api.resource import Resource
from marline.api.scalars import Duration

Percent = Annotated[float, Meta(ge=0, le=100)]


class MinimumLatency(Model, frozen=True):
    """How the latency of the idle service is found, to which that under load is compared."""

    interval: Duration = Duration(60)
    """So often it is measured anew, with at most `minConcurrency` requests at a time."""
    requests: Annotated[int, Meta(ge=1)] = 50
    """So many are measured."""
    fixed: Duration | None = None
    """It is known, and not measured."""


class AdaptiveConcurrency(Model, frozen=True):
    """As many requests at a time as the service answers without becoming slower (gradient controller)."""

    max_concurrency: Annotated[int, Meta(ge=1)] = 1000
    min_concurrency: Annotated[int, Meta(ge=1)] = 3
    """Of requests while the minimum latency is measured; the limit never falls below it."""
    sample_interval: Duration = Duration(0.1)
    """So often the limit is set anew, by the latency since."""
    percentile: Percent = 50.0
    """Of the latencies since, the one that counts."""
    minimum_latency: MinimumLatency | None = None
    status_code: ErrorStatus = 503
    """Of requests beyond the limit."""


class StatusRange(Model, frozen=True):
    """HTTP statuses from the first to the last, both included."""

    first: Annotated[int, Meta(ge=100, le=599)]
    last: Annotated[int, Meta(ge=100, le=599)]


class SuccessCriteria(Model, frozen=True):
    """Which answers are successes. Without HTTP statuses those below 500, without gRPC statuses those that
    are not the server's fault (Envoy's defaults)."""

    http_statuses: tuple[StatusRange, ...] = ()
    grpc_statuses: tuple[str, ...] = ()


class AdmissionControl(Model, frozen=True):
    """Requests are turned away by chance, the more the fewer of them succeed (sre.google, "Handling
    Overload", client-side throttling)."""

    sampling_window: Duration = Duration(30)
    """Over so long successes are counted."""
    success_threshold: Annotated[float, Meta(ge=1, le=100)] = 95.0
    """Percentage of successes below which requests are turned away."""
    aggression: Annotated[float, Meta(ge=1, le=100)] = 1.0
    """Above 1, more requests are turned away at the same rate of success."""
    minimum_requests_per_second: Annotated[int, Meta(ge=0)] = 0
    """With fewer, none is turned away."""
    max_rejection_percent: Percent = 80.0
    success: SuccessCriteria | None = None


class Hedging(Model, frozen=True):
    """A request that is not answered in time is sent once more, and the first good answer counts."""

    after: Duration
    """Unless a VirtualService's `perTryTimeout` says when."""
    methods: tuple[str, ...] = ("GET", "HEAD", "OPTIONS")
    """Of requests that may be sent twice. gRPC calls are all `POST`."""


class RetryBudget(Model, frozen=True):
    """Retries at a time, as a share of the requests that are under way: retries do not bury a service that
    fails. A DestinationRule's `retryBudget` or `maxRetries` counts before this."""

    percent: Percent = 20.0
    min_concurrency: Annotated[int, Meta(ge=0)] = 10
    """So many retries are always allowed."""


class ResiliencePolicySpec(Model, frozen=True):
    target_refs: tuple[LocalPolicyTargetReference, ...]
    adaptive_concurrency: AdaptiveConcurrency | None = None
    admission_control: AdmissionControl | None = None
    hedging: Hedging | None = None
    retry_budget: RetryBudget | None = None


def acts_inbound(spec: ResiliencePolicySpec) -> bool:
    """Does it need proxies at the service's own workloads?"""
    return spec.adaptive_concurrency is not None or spec.admission_control is not None


def validate(resource: Resource[ResiliencePolicySpec], faults: Faults) -> None:
    """Envoy's bounds, and what would have no effect."""
    spec = resource.spec
    validate_targets(spec.target_refs, SERVICES, faults.at("targetRefs"))
    if not (acts_inbound(spec) or spec.hedging or spec.retry_budget):
        faults.add("says nothing: set adaptiveConcurrency, admissionControl, hedging or retryBudget")
    if spec.adaptive_concurrency is not None:
        _concurrency(spec.adaptive_concurrency, faults.at("adaptiveConcurrency"))
    if spec.admission_control is not None:
        _admission(spec.admission_control, faults.at("admissionControl"))
    if spec.hedging is not None:
        where = faults.at("hedging")
        rules.duration(spec.hedging.after, where.at("after"))
        if where.required(spec.hedging.methods, "methods"):
            for index, method in enumerate(spec.hedging.methods):
                rules.header_name(method, where.at("methods").item(index))


def _concurrency(settings: AdaptiveConcurrency, faults: Faults) -> None:
    error_status(settings.status_code, faults.at("statusCode"))
    rules.duration(settings.sample_interval, faults.at("sampleInterval"))
    if settings.min_concurrency > settings.max_concurrency:
        faults.at("minConcurrency").add(f"is above maxConcurrency, which is {settings.max_concurrency}")
    latency = settings.minimum_latency
    if latency is not None:
        where = faults.at("minimumLatency")
        rules.duration(latency.interval, where.at("interval"))
        rules.duration(latency.fixed, where.at("fixed"))


def _admission(settings: AdmissionControl, faults: Faults) -> None:
    rules.duration(settings.sampling_window, faults.at("samplingWindow"), least=1)
    criteria = settings.success or SuccessCriteria()
    where = faults.at("success")
    for index, item in enumerate(criteria.http_statuses):
        if item.last < item.first:
            where.at("httpStatuses").item(index).at("last").add(f"is below the first, which is {item.first}")
    for index, status in enumerate(criteria.grpc_statuses):
        if status not in GRPC_STATUSES:
            where.at("grpcStatuses").item(index).add(
                f"{status!r} is no gRPC status", suggestion=nearest(status, GRPC_STATUSES)
            )
