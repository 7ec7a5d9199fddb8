"""WorkloadEntry: one instance that is no pod (istio.io, "Workload Entry" reference)."""

from typing import Annotated, Final

from msgspec import Meta

from marline.api import rules
from marline.api.faults import Faults
from marline.api.model import Model
from marline.api.refusals import Refusals
from marline.api.resource import Resource


class WorkloadEntrySpec(Model, frozen=True):
    address: str = ""
    ports: dict[str, Annotated[int, Meta(ge=1, le=65535)]] = {}
    labels: dict[str, str] = {}
    network: str = ""
    locality: str = ""
    weight: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    service_account: str = ""


REFUSED: Final[Refusals] = {"network": "multi-network meshes"}


def validate(resource: Resource[WorkloadEntrySpec], faults: Faults) -> None:
    check(resource.spec, faults, hostname=True)


def check(spec: WorkloadEntrySpec, faults: Faults, *, hostname: bool) -> None:
    """Istio's rules for one workload, here or inline in a ServiceEntry. `hostname`: a DNS name is an
    address, too."""
    if faults.required(spec.address, "address"):
        if spec.address.startswith("unix://"):
            path = spec.address.removeprefix("unix://")
            absolute = path.startswith(("/", "@")) and len(path) <= 107
            faults.at("address").require(absolute, f"{spec.address!r} is not unix:// and an absolute path")
            if spec.ports:
                faults.at("ports").add("a Unix socket has no ports")
        elif not rules.is_ip(spec.address):
            if hostname:
                rules.host(spec.address, faults.at("address"), wildcard=False)
            else:
                faults.at("address").add(
                    f"{spec.address!r} is not an IP address, as resolution STATIC requires"
                )
    for name in spec.ports:
        rules.dns_label(name, faults.at("ports").key(name))
    rules.labels(spec.labels, faults.at("labels"))
    if spec.service_account:
        rules.dns_subdomain(spec.service_account, faults.at("serviceAccount"))
    if spec.locality.count("/") > 2:
        faults.at("locality").add(f"{spec.locality!r} is not REGION/ZONE/SUBZONE")
