"""WorkloadGroup: what the workloads of a group have in common (istio.io, "Workload Group")."""

from typing import Annotated

from msgspec import Meta

from marline.api import rules
from marline.api.faults import Faults
from marline.api.model import Model
from marline.api.networking.workload_entry import WorkloadEntrySpec
from marline.api.resource import Resource

Seconds = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class HTTPHeader(Model, frozen=True):
    name: str = ""
    value: str = ""


class HTTPHealthCheck(Model, frozen=True):
    port: Annotated[int, Meta(ge=1, le=65535)]
    path: str = ""
    host: str = ""
    scheme: str = ""
    http_headers: tuple[HTTPHeader, ...] = ()


class TCPHealthCheck(Model, frozen=True):
    port: Annotated[int, Meta(ge=1, le=65535)]
    host: str = ""


class ExecHealthCheck(Model, frozen=True):
    command: tuple[str, ...] = ()


class GRPCHealthCheck(Model, frozen=True):
    port: Annotated[int, Meta(ge=1, le=65535)]
    service: str = ""


class ReadinessProbe(Model, frozen=True):
    initial_delay_seconds: Seconds = 0
    timeout_seconds: Seconds = 0
    period_seconds: Seconds = 0
    success_threshold: Seconds = 0
    failure_threshold: Seconds = 0
    http_get: HTTPHealthCheck | None = None
    tcp_socket: TCPHealthCheck | None = None
    exec: ExecHealthCheck | None = None
    grpc: GRPCHealthCheck | None = None


class GroupMetadata(Model, frozen=True):
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class WorkloadGroupSpec(Model, frozen=True):
    template: WorkloadEntrySpec
    metadata: GroupMetadata | None = None
    probe: ReadinessProbe | None = None


def validate(resource: Resource[WorkloadGroupSpec], faults: Faults) -> None:
    """Istio's rules for a WorkloadGroup."""
    spec = resource.spec
    rules.labels(spec.template.labels, faults.at("template").at("labels"))
    if spec.metadata:
        rules.labels(spec.metadata.labels, faults.at("metadata").at("labels"))
    if spec.probe:
        methods = (spec.probe.http_get, spec.probe.tcp_socket, spec.probe.exec, spec.probe.grpc)
        if sum(method is not None for method in methods) != 1:
            faults.at("probe").add("expected one of httpGet, tcpSocket, exec or grpc")
