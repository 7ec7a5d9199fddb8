"""WorkloadEntry: one instance that is no pod (istio.io, "Workload Entry" reference)."""

from typing import Annotated

from msgspec import Meta

from marline.api.model import Model


class WorkloadEntrySpec(Model, frozen=True):
    address: str = ""
    ports: dict[str, Annotated[int, Meta(ge=1, le=65535)]] = {}
    labels: dict[str, str] = {}
    network: str = ""
    locality: str = ""
    weight: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    service_account: str = ""
