"""What follows from a workload's description: its names, its ports, its proxy, its registration. Pure.

Where the workload is to live (`Place`) and the numbers that were reserved for it come in.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from marline.mesh.endpoints import MANAGED_BY, PROBED_ANNOTATION, TLS_MODE_LABEL, spiffe_id
from marline.mesh.model import (
    Capture,
    GatewayPort,
    InboundPort,
    Locality,
    Proxy,
    Role,
    Upstream,
    Workload,
    labels_of,
)
from marline.mesh.protocol import select_protocol
from marline.node.workload import GatewayPortSpec, GatewaySpec, PortSpec, WorkloadSpec

LOOPBACK: Final = "127.0.0.1"
ANY_ADDRESS: Final = ("0.0.0.0", "::")  # noqa: S104 (to be compared with)
_GATEWAY_PORT_NAMES: Final = {80: "http2", 443: "https", 15443: "tls"}
_FIRST_FREE_PORT: Final = 1024
_NOT_PROXIED: Final = "localhost,127.0.0.1,::1"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a workload lives."""

    capture: Capture
    address: str = LOOPBACK
    """What its peers connect to."""
    netns: str = ""
    resolv_conf: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is decided about one workload before anything is started."""

    name: str
    spiffe_id: str
    proxy: Proxy
    cluster: str
    listen: Mapping[str, int]
    """Where peers connect, by port name."""
    app_ports: Mapping[int, int]
    """The service's port → the application's, of ports that take connections."""
    environment: Mapping[str, str]
    """What the application is told, besides what its user says."""
    entry: dict[str, Any] | None
    """Its `WorkloadEntry`; only a gateway that listens where Gateways say has none."""
    service: dict[str, Any] | None
    """The `Service` that is made if there is none."""


def workload_name(service: str, version: str, suffix: str) -> str:
    """A name for one instance, of the kind that Kubernetes gives to pods. A version is a label's value, which
    may have characters that a name may not."""
    parts = (service, re.sub(r"[^a-z0-9]+", "-", version.lower()).strip("-"), suffix)
    return "-".join(part for part in parts if part)


def locality_of(text: str) -> Locality:
    region, _, rest = text.partition("/")
    zone, _, sub_zone = rest.partition("/")
    return Locality(region, zone, sub_zone)


def plan_workload(
    spec: WorkloadSpec, name: str, node: str, trust_domain: str, place: Place, free_port: Callable[[], int]
) -> Plan:
    """`free_port` gives a port of its own at each call; only explicit capture asks for some."""
    explicit = place.capture is Capture.EXPLICIT
    inbound = tuple(_inbound(port, explicit, free_port) for port in spec.ports)
    upstreams = tuple(Upstream(item.host, item.port, free_port()) for item in spec.upstreams if explicit)
    labels = {**spec.labels, "app": spec.service}
    if spec.version:
        labels["version"] = spec.version
    workload = Workload(
        namespace=spec.namespace,
        name=name,
        service_account=spec.service_account,
        labels=labels_of(labels),
        address=place.address,
        inbound=inbound,
        upstreams=upstreams,
        http_proxy_port=free_port() if explicit else 0,
        locality=locality_of(spec.locality),
    )
    proxy = Proxy(
        node_id=f"sidecar~{spec.namespace}~{name}~{node}",
        role=Role.SIDECAR,
        capture=place.capture,
        workloads=(workload,),
        bind_address=place.address if explicit else "",
    )
    listen = {port.name: port.listen for port in inbound}
    return Plan(
        name=name,
        spiffe_id=spiffe_id(trust_domain, spec.namespace, spec.service_account),
        proxy=proxy,
        cluster=f"{spec.service}.{spec.namespace}",
        listen=listen,
        app_ports={
            port.port: served.app_port
            for port, served in zip(spec.ports, inbound, strict=True)
            if not port.takes_datagrams
        },
        environment=_environment(spec, workload),
        entry=_entry(spec, name, node, place, labels, listen),
        service=_service(spec, node) if spec.ports else None,
    )


def _inbound(port: PortSpec, explicit: bool, free_port: Callable[[], int]) -> InboundPort:
    protocol = select_protocol(port.port, port.name, port.app_protocol or None)
    if explicit and port.takes_datagrams:
        number = port.target_port or free_port()
        return InboundPort(port.name, number, LOOPBACK, number, protocol)
    if explicit:
        return InboundPort(port.name, free_port(), LOOPBACK, port.target_port or free_port(), protocol)
    number = port.target_port or port.port
    return InboundPort(port.name, number, LOOPBACK, number, protocol)


def _environment(spec: WorkloadSpec, workload: Workload) -> dict[str, str]:
    told = {"MARLINE_WORKLOAD": workload.name, "MARLINE_NAMESPACE": workload.namespace}
    for index, port in enumerate(workload.inbound):
        if index == 0:
            told["PORT"] = str(port.app_port)
        told[f"PORT_{port.name.replace('-', '_').upper()}"] = str(port.app_port)
    listens = {(item.host, item.port): item.listen for item in workload.upstreams}
    for upstream in spec.upstreams:
        local = listens.get((upstream.host, upstream.port))
        host, number = (LOOPBACK, local) if local else (upstream.host, upstream.port)
        told |= {
            f"{upstream.variable}_URL": f"http://{host}:{number}",
            f"{upstream.variable}_HOST": host,
            f"{upstream.variable}_PORT": str(number),
        }
    if workload.http_proxy_port:
        proxy = f"http://{LOOPBACK}:{workload.http_proxy_port}"
        given = {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": _NOT_PROXIED}
        told |= given | {name.lower(): value for name, value in given.items()}
    return told


def _entry(
    spec: WorkloadSpec, name: str, node: str, place: Place, labels: dict[str, str], listen: dict[str, int]
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "address": place.address,
        "ports": listen,
        "labels": {**labels, TLS_MODE_LABEL: "istio"},
        "serviceAccount": spec.service_account,
    }
    if spec.weight:
        body["weight"] = spec.weight
    if spec.locality:
        body["locality"] = spec.locality
    return _entry_object(name, spec.namespace, node, body)


def _entry_object(name: str, namespace: str, node: str, body: dict[str, Any]) -> dict[str, Any]:
    annotations = {MANAGED_BY: node, PROBED_ANNOTATION: "true"}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadEntry",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
        "spec": body,
    }


def _service(spec: WorkloadSpec, node: str) -> dict[str, Any]:
    ports = []
    for port in spec.ports:
        transport = "UDP" if port.takes_datagrams else "TCP"
        item: dict[str, Any] = {"name": port.name, "port": port.port, "protocol": transport}
        if port.target_port:
            item["targetPort"] = port.target_port
        if port.app_protocol:
            item["appProtocol"] = port.app_protocol
        ports.append(item)
    return _service_object(spec.service, spec.namespace, node, {"app": spec.service}, ports)


def _service_object(
    name: str, namespace: str, node: str, selector: dict[str, str], ports: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "annotations": {MANAGED_BY: node}},
        "spec": {"selector": selector, "ports": ports},
    }


def gateway_name(spec: GatewaySpec, node: str) -> str:
    """Its proxy's name, of which a machine has one."""
    return f"{spec.name}-{node}"


def gateway_labels(spec: GatewaySpec) -> dict[str, str]:
    """What Gateways select it by."""
    return {"app": spec.name, "istio": spec.name, **spec.labels}


def plan_gateway(
    spec: GatewaySpec, node: str, trust_domain: str, *, is_root: bool, mesh_address: str = ""
) -> Plan:
    """A gateway's plan: it listens where its user says, else where the Gateways say that select its labels.
    Only root may listen on ports below 1024. `mesh_address` is where workloads reach it, if they do not at
    the address that it binds to.

    What it is for may be leaving the mesh as well as entering it, so it has a Service like any workload; but
    it is not one that takes mTLS by itself, since the Gateways say what its ports are.
    """
    account = spec.service_account or spec.name
    labels = gateway_labels(spec)
    name = gateway_name(spec, node)
    listens = tuple(GatewayPort(port.port, port.listen or port.port) for port in spec.ports)
    workload = Workload(
        namespace=spec.namespace,
        name=name,
        service_account=account,
        labels=labels_of(labels),
        address=mesh_address or spec.bind,
    )
    proxy = Proxy(
        node_id=f"gateway~{spec.namespace}~{name}~{node}",
        role=Role.GATEWAY,
        capture=Capture.EXPLICIT,
        workloads=(workload,),
        bind_address=spec.bind,
        mesh_address=mesh_address if spec.bind not in ANY_ADDRESS else "",
        gateway_ports=listens,
        privileged_ports=is_root and (not listens or any(port.listen < _FIRST_FREE_PORT for port in listens)),
    )
    return Plan(
        name=name,
        spiffe_id=spiffe_id(trust_domain, spec.namespace, account),
        proxy=proxy,
        cluster=f"{spec.name}.{spec.namespace}",
        listen={str(port.number): port.listen for port in listens},
        app_ports={},
        environment={},
        entry=_gateway_entry(spec, workload, node, listens),
        service=_gateway_service(spec, node, labels) if listens else None,
    )


def _gateway_entry(
    spec: GatewaySpec, workload: Workload, node: str, listens: tuple[GatewayPort, ...]
) -> dict[str, Any]:
    names = {port.port: _port_name(port) for port in spec.ports}
    body = {
        "address": LOOPBACK if workload.address in ANY_ADDRESS else workload.address,
        "ports": {names[port.number]: port.listen for port in listens},
        "labels": dict(workload.labels),
        "serviceAccount": workload.service_account,
    }
    return _entry_object(workload.name, spec.namespace, node, body)


def _gateway_service(spec: GatewaySpec, node: str, labels: Mapping[str, str]) -> dict[str, Any]:
    ports = [{"name": _port_name(port), "port": port.port, "protocol": "TCP"} for port in spec.ports]
    return _service_object(spec.name, spec.namespace, node, {"app": labels["app"]}, ports)


def _port_name(port: GatewayPortSpec) -> str:
    """As those of Istio's gateways, unless its user says another."""
    return port.name or _GATEWAY_PORT_NAMES.get(port.port, f"tcp-{port.port}")
