"""ServiceEntry: a service that no core/v1 Service describes (istio.io, "Service Entry" reference)."""

from typing import Annotated, Literal

from msgspec import Meta

from marline.api.model import Model, NetworkingSelector
from marline.api.networking.workload_entry import WorkloadEntrySpec


class ServicePort(Model, frozen=True):
    number: Annotated[int, Meta(ge=1, le=65535)]
    name: str
    protocol: str = ""
    target_port: Annotated[int, Meta(ge=0, le=65535)] = 0


class ServiceEntrySpec(Model, frozen=True):
    hosts: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    location: Literal["MESH_EXTERNAL", "MESH_INTERNAL"] = "MESH_EXTERNAL"
    resolution: Literal["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"] = "NONE"
    endpoints: tuple[WorkloadEntrySpec, ...] = ()
    workload_selector: NetworkingSelector | None = None
    export_to: tuple[str, ...] = ()
    subject_alt_names: tuple[str, ...] = ()
