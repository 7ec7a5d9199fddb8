"""ServiceEntry: a service that no core/v1 Service describes (istio.io, "Service Entry" reference)."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from marline.api import rules
from marline.api.errors import Fault
from marline.api.faults import Faults, nearest
from marline.api.model import Model, NetworkingSelector
from marline.api.networking.workload_entry import WorkloadEntrySpec, check
from marline.api.refusals import Refusals
from marline.api.resource import Resource


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


REFUSED: Final[Refusals] = {
    "endpoints[].network": "multi-network meshes",
}

_NAMING_HOSTS: Final = ("HTTP", "HTTP2", "GRPC", "GRPC-WEB", "HTTPS", "TLS")
_PROTOCOLS: Final = (*_NAMING_HOSTS, "TCP", "MONGO", "MYSQL", "REDIS")


def validate(resource: Resource[ServiceEntrySpec], faults: Faults) -> None:
    """Istio's rules for a ServiceEntry."""
    spec = resource.spec
    if faults.required(spec.hosts, "hosts"):
        for index, name in enumerate(spec.hosts):
            rules.host(name, faults.at("hosts").item(index), address=False)
            if name == "*":
                faults.at("hosts").item(index).add("'*' is too wide; name a domain such as *.example.com")
            elif name.startswith("*.") and spec.resolution not in ("NONE", "DYNAMIC_DNS"):
                faults.at("hosts").item(index).add(
                    f"a wildcard host needs resolution NONE or DYNAMIC_DNS, not {spec.resolution}"
                )
            elif spec.resolution == "DYNAMIC_DNS" and not name.startswith("*."):
                faults.at("hosts").item(index).add("DYNAMIC_DNS is for wildcard hosts; use DNS for this one")
        rules.named_once(list(spec.hosts), faults.at("hosts"), "host")
    for index, address in enumerate(spec.addresses):
        rules.cidr(address, faults.at("addresses").item(index))
    if faults.required(spec.ports, "ports"):
        _ports(spec.ports, faults.at("ports"))
    if spec.resolution == "DYNAMIC_DNS":
        _resolved_when_called(spec, faults)
    if spec.endpoints and spec.workload_selector:
        faults.at("workloadSelector").add("expected either endpoints or workloadSelector, found both")
    if spec.workload_selector:
        rules.labels(spec.workload_selector.labels, faults.at("workloadSelector").at("labels"))
        if spec.resolution == "NONE":
            faults.at("resolution").add("NONE ignores the selected workloads; use STATIC or DNS")
    _endpoints(spec, faults)
    rules.export_to(spec.export_to, faults.at("exportTo"))


def _resolved_when_called(spec: ServiceEntrySpec, faults: Faults) -> None:
    """Only HTTP and TLS say to which host they want (istio.io, `ServiceEntry.Resolution`)."""
    for index, port in enumerate(spec.ports):
        said = (port.protocol or port.name.partition("-")[0]).upper()
        if said not in _NAMING_HOSTS:
            faults.at("ports").item(index).at("protocol").add(
                f"DYNAMIC_DNS needs one of {', '.join(_NAMING_HOSTS)}, since other clients name no host"
            )
        if port.target_port:
            faults.at("ports").item(index).at("targetPort").add("DYNAMIC_DNS keeps the port that is called")
    if spec.endpoints or spec.workload_selector:
        faults.at("resolution").add("DYNAMIC_DNS takes neither endpoints nor a workloadSelector")
    if spec.location == "MESH_INTERNAL":
        faults.at("location").add("DYNAMIC_DNS is for hosts outside the mesh: MESH_EXTERNAL")


def _ports(ports: tuple[ServicePort, ...], faults: Faults) -> None:
    rules.named_once([port.name for port in ports], faults, "port")
    rules.named_once([str(port.number) for port in ports], faults, "port")
    for index, port in enumerate(ports):
        where = faults.item(index)
        if where.required(port.name, "name"):
            rules.dns_label(port.name, where.at("name"))
        if port.protocol and port.protocol.upper() not in _PROTOCOLS:
            where.at("protocol").add(
                f"{port.protocol!r} is not one of {', '.join(_PROTOCOLS)}",
                suggestion=nearest(port.protocol, _PROTOCOLS),
            )


def _endpoints(spec: ServiceEntrySpec, faults: Faults) -> None:
    if spec.endpoints and spec.resolution == "NONE":
        faults.at("endpoints").add("have no effect with resolution NONE; use STATIC or DNS")
    if spec.resolution == "DNS_ROUND_ROBIN" and len(spec.endpoints) > 1:
        faults.at("endpoints").add("DNS_ROUND_ROBIN takes at most one endpoint")
    if spec.resolution == "STATIC" and not spec.endpoints and not spec.workload_selector:
        faults.at("endpoints").add("STATIC needs endpoints or a workloadSelector", Fault.REQUIRED)
    names = {port.name for port in spec.ports}
    for index, endpoint in enumerate(spec.endpoints):
        where = faults.at("endpoints").item(index)
        check(endpoint, where, hostname=spec.resolution != "STATIC")
        if endpoint.address.startswith("unix://") and (spec.resolution != "STATIC" or len(spec.ports) > 1):
            where.at("address").add("a Unix socket needs resolution STATIC and a single port")
        for name in endpoint.ports:
            if name not in names:
                where.at("ports").key(name).add(
                    "is not a port of this ServiceEntry", suggestion=nearest(name, names)
                )
