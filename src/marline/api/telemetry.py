"""Telemetry: metrics, traces and access logs of workloads (istio.io, "Telemetry" reference)."""

from typing import Annotated, Literal

from msgspec import Meta

from marline.api.faults import Faults
from marline.api.model import Model, PolicyTargetReference, Selector
from marline.api.resource import Resource
from marline.api.scalars import Duration

Mode = Literal["CLIENT_AND_SERVER", "CLIENT", "SERVER"]


class ProviderRef(Model, frozen=True):
    name: str


class ModeSelector(Model, frozen=True):
    mode: Mode = "CLIENT_AND_SERVER"


class LiteralTag(Model, frozen=True):
    value: str


class EnvironmentTag(Model, frozen=True):
    name: str
    default_value: str = ""


class RequestHeaderTag(Model, frozen=True):
    name: str
    default_value: str = ""


class FormatterTag(Model, frozen=True):
    value: str


class CustomTag(Model, frozen=True):
    literal: LiteralTag | None = None
    environment: EnvironmentTag | None = None
    header: RequestHeaderTag | None = None
    formatter: FormatterTag | None = None


class Tracing(Model, frozen=True):
    match: ModeSelector | None = None
    providers: tuple[ProviderRef, ...] = ()
    random_sampling_percentage: Annotated[float, Meta(ge=0, le=100)] | None = None
    disable_span_reporting: bool | None = None
    custom_tags: dict[str, CustomTag] = {}
    use_request_id_for_trace_sampling: bool | None = None
    enable_istio_tags: bool | None = None


class MetricSelector(Model, frozen=True):
    metric: (
        Literal[
            "ALL_METRICS", "REQUEST_COUNT", "REQUEST_DURATION", "REQUEST_SIZE", "RESPONSE_SIZE",
            "TCP_OPENED_CONNECTIONS", "TCP_CLOSED_CONNECTIONS", "TCP_SENT_BYTES", "TCP_RECEIVED_BYTES",
            "GRPC_REQUEST_MESSAGES", "GRPC_RESPONSE_MESSAGES",
        ]
        | None
    ) = None  # fmt: skip
    custom_metric: str | None = None
    mode: Mode = "CLIENT_AND_SERVER"


class TagOverride(Model, frozen=True):
    operation: Literal["UPSERT", "REMOVE"] = "UPSERT"
    value: str = ""


class MetricsOverride(Model, frozen=True):
    match: MetricSelector | None = None
    disabled: bool | None = None
    tag_overrides: dict[str, TagOverride] = {}


class Metrics(Model, frozen=True):
    providers: tuple[ProviderRef, ...] = ()
    overrides: tuple[MetricsOverride, ...] = ()
    reporting_interval: Duration | None = None


class LogFilter(Model, frozen=True):
    expression: str = ""


class AccessLogging(Model, frozen=True):
    match: ModeSelector | None = None
    providers: tuple[ProviderRef, ...] = ()
    disabled: bool | None = None
    filter: LogFilter | None = None


class TelemetrySpec(Model, frozen=True):
    selector: Selector | None = None
    target_ref: PolicyTargetReference | None = None
    target_refs: tuple[PolicyTargetReference, ...] = ()
    tracing: tuple[Tracing, ...] = ()
    metrics: tuple[Metrics, ...] = ()
    access_logging: tuple[AccessLogging, ...] = ()


def validate(resource: Resource[TelemetrySpec], faults: Faults) -> None:
    """Istio's rules for a Telemetry."""
    for index, tracing in enumerate(resource.spec.tracing):
        for name, tag in tracing.custom_tags.items():
            kinds = (tag.literal, tag.environment, tag.header, tag.formatter)
            if sum(kind is not None for kind in kinds) != 1:
                where = faults.at("tracing").item(index).at("customTags").key(name)
                where.add("expected one of literal, environment, header or formatter")
