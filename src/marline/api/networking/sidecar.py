"""Sidecar: what a workload's proxy sees of the mesh (istio.io, "Sidecar" reference)."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from marline.api import rules
from marline.api.errors import Fault
from marline.api.faults import Faults
from marline.api.model import Model, NetworkingSelector
from marline.api.networking.destination_rule import ConnectionPoolSettings
from marline.api.networking.server_tls import ServerTLSSettings
from marline.api.networking.virtual_service import Destination
from marline.api.refusals import Refusals
from marline.api.resource import Resource

CaptureMode = Literal["DEFAULT", "IPTABLES", "NONE"]


class SidecarPort(Model, frozen=True):
    number: Annotated[int, Meta(ge=0, le=65535)] = 0
    protocol: str = ""
    name: str = ""
    target_port: Annotated[int, Meta(ge=0, le=65535)] = 0


class IstioIngressListener(Model, frozen=True):
    port: SidecarPort
    bind: str = ""
    capture_mode: CaptureMode = "DEFAULT"
    default_endpoint: str = ""
    tls: ServerTLSSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None


class IstioEgressListener(Model, frozen=True):
    hosts: tuple[str, ...]
    port: SidecarPort | None = None
    bind: str = ""
    capture_mode: CaptureMode = "DEFAULT"


class OutboundTrafficPolicy(Model, frozen=True):
    mode: Literal["REGISTRY_ONLY", "ALLOW_ANY"] = "REGISTRY_ONLY"
    egress_proxy: Destination | None = None


class SidecarSpec(Model, frozen=True):
    workload_selector: NetworkingSelector | None = None
    ingress: tuple[IstioIngressListener, ...] = ()
    egress: tuple[IstioEgressListener, ...] = ()
    inbound_connection_pool: ConnectionPoolSettings | None = None
    outbound_traffic_policy: OutboundTrafficPolicy | None = None


REFUSED: Final[Refusals] = {
    "ingress": "inbound listeners of one's own",
    "egress[].port": "egress listeners for single ports",
    "egress[].bind": "egress listeners on an address of one's own",
    "egress[].captureMode=IPTABLES": "choosing the capture of single listeners",
    "egress[].captureMode=NONE": "choosing the capture of single listeners",
    "inboundConnectionPool": "limits on inbound connections",
    "outboundTrafficPolicy.egressProxy": "sending unknown traffic through an egress gateway",
}


def validate(resource: Resource[SidecarSpec], faults: Faults) -> None:
    """Istio's rules for a Sidecar."""
    spec = resource.spec
    if spec.workload_selector:
        rules.labels(spec.workload_selector.labels, faults.at("workloadSelector").at("labels"))
    if len(spec.egress) > 1:
        faults.at("egress").item(1).add("only one egress listener may be without port; merge the hosts")
    for index, listener in enumerate(spec.egress):
        where = faults.at("egress").item(index).at("hosts")
        if not listener.hosts:
            where.add("is required", Fault.REQUIRED)
        for number, entry in enumerate(listener.hosts):
            _host(entry, where.item(number))


def _host(entry: str, faults: Faults) -> None:
    namespace, slash, name = entry.partition("/")
    if not slash:
        faults.add(
            f"{entry!r} is not NAMESPACE/HOST, such as './*' or 'default/reviews.default.svc.cluster.local'"
        )
        return
    if namespace not in ("*", ".", "~"):
        rules.dns_label(namespace, faults)
    rules.host(name, faults, address=False)
