"""Sidecar: what a workload's proxy sees of the mesh (istio.io, "Sidecar" reference)."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from marline.api import rules
from marline.api.errors import Fault
from marline.api.faults import Faults, nearest
from marline.api.model import Model, NetworkingSelector
from marline.api.networking.destination_rule import ConnectionPoolSettings
from marline.api.networking.destination_rule_rules import validate_pool
from marline.api.networking.server_tls import ServerTLSSettings, validate_server_tls
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


_PROTOCOLS: Final = ("HTTP", "HTTP2", "GRPC", "HTTPS", "TLS", "TCP", "MONGO", "MYSQL", "REDIS", "AUTO")
_ENDPOINTS: Final = ("127.0.0.1", "[::1]", "0.0.0.0", "[::]")  # noqa: S104 (a form, not a binding)

REFUSED: Final[Refusals] = {
    "ingress[].port.targetPort": "Istio itself leaves it unimplemented; use defaultEndpoint",
    "ingress[].tls.httpsRedirect": "a sidecar has one listener for a port, and no other to redirect from",
    "ingress[].tls.credentialName": "a sidecar's certificates come from files, as Istio's",
    "ingress[].tls.credentialNames": "a sidecar's certificates come from files, as Istio's",
    "ingress[].tls.caCertCredentialName": "a sidecar's authorities come from files, as Istio's",
    "ingress[].tls.tlsCertificates[].caCertificates": "clients are verified with one set of CA certificates, "
    "whichever certificate they are shown; write it to tls.caCertificates",
    "ingress[].connectionPool.http.h2UpgradePolicy": "the application is spoken to as its port says",
    "inboundConnectionPool.http.h2UpgradePolicy": "the application is spoken to as its port says",
    "egress[].port.targetPort": "Istio itself leaves it unimplemented",
}


def validate(resource: Resource[SidecarSpec], faults: Faults) -> None:
    """Istio's rules for a Sidecar."""
    spec = resource.spec
    if spec.workload_selector:
        rules.labels(spec.workload_selector.labels, faults.at("workloadSelector").at("labels"))
    for index, ingress in enumerate(spec.ingress):
        _ingress(ingress, faults.at("ingress").item(index))
    numbers = [str(listener.port.number) for listener in spec.ingress]
    rules.named_once(numbers, faults.at("ingress"), "port")
    if spec.inbound_connection_pool:
        validate_pool(spec.inbound_connection_pool, faults.at("inboundConnectionPool"))
    _egress(spec.egress, faults.at("egress"))
    if spec.outbound_traffic_policy:
        _outbound(spec.outbound_traffic_policy, faults.at("outboundTrafficPolicy"))


def _egress(listeners: tuple[IstioEgressListener, ...], faults: Faults) -> None:
    places: list[tuple[int, str]] = []
    for index, listener in enumerate(listeners):
        where = faults.item(index)
        if listener.port is None and index < len(listeners) - 1:
            where.add("a listener without port is for all that is left, so it comes last; merge the hosts")
        _egress_place(listener, where)
        if listener.port is not None:
            place = (listener.port.number, listener.bind)
            where.require(place not in places, "another listener has this port and bind")
            places.append(place)
        if not listener.hosts:
            where.at("hosts").add("is required", Fault.REQUIRED)
        for number, entry in enumerate(listener.hosts):
            _host(entry, where.at("hosts").item(number))


def _egress_place(listener: IstioEgressListener, faults: Faults) -> None:
    if listener.port is None:
        for name, value in (("bind", listener.bind), ("captureMode", listener.capture_mode)):
            if value not in ("", "DEFAULT"):
                faults.at(name).add("has no meaning without port: this listener is for all ports")
    elif listener.bind.startswith("unix://"):
        _endpoint(listener.bind, faults.at("bind"))
        _protocol(listener.port, faults.at("port"))
        if listener.port.number:
            faults.at("port").at("number").add("a Unix socket has no port; leave it out")
        if listener.port.protocol.upper() not in ("HTTP", "HTTP2", "GRPC"):
            faults.at("port").at("protocol").add("behind a Unix socket only requests say whom they are for")
        if listener.capture_mode == "IPTABLES":
            faults.at("captureMode").add("connections to a Unix socket cannot be captured")
    else:
        _port(listener.port, faults.at("port"))
        if listener.bind:
            message = f"{listener.bind!r} is neither an IP address nor unix:///PATH"
            faults.at("bind").require(rules.is_ip(listener.bind), message)


def _outbound(policy: OutboundTrafficPolicy, faults: Faults) -> None:
    proxy = policy.egress_proxy
    if proxy is None:
        return
    where = faults.at("egressProxy")
    where.require(policy.mode == "ALLOW_ANY", "has no effect unless mode is ALLOW_ANY")
    rules.host(proxy.host, where.at("host"), wildcard=False)
    if proxy.port is None or not proxy.port.number:
        where.at("port").add(
            "is required: unknown traffic has no port that the proxy would know", Fault.REQUIRED
        )


def _ingress(listener: IstioIngressListener, faults: Faults) -> None:
    _port(listener.port, faults.at("port"))
    if listener.bind:
        faults.at("bind").require(rules.is_ip(listener.bind), f"{listener.bind!r} is not an IP address")
    if listener.default_endpoint:
        _endpoint(listener.default_endpoint, faults.at("defaultEndpoint"))
    elif listener.capture_mode == "NONE":
        faults.at("defaultEndpoint").add(
            "is required with captureMode NONE: the port is the proxy's, so the application has another",
            Fault.REQUIRED,
        )
    if listener.tls:
        _tls(listener, listener.tls, faults.at("tls"))
    if listener.connection_pool:
        validate_pool(listener.connection_pool, faults.at("connectionPool"))


def _port(port: SidecarPort, faults: Faults) -> None:
    faults.at("number").require(port.number, "0 is no port; expected 1 to 65535")
    _protocol(port, faults)


def _protocol(port: SidecarPort, faults: Faults) -> None:
    if faults.required(port.protocol, "protocol") and port.protocol.upper() not in _PROTOCOLS:
        faults.at("protocol").add(
            f"{port.protocol!r} is not one of {', '.join(_PROTOCOLS)}",
            suggestion=nearest(port.protocol, _PROTOCOLS),
        )


def _endpoint(text: str, faults: Faults) -> None:
    if text.startswith("unix://"):
        path = text.removeprefix("unix://")
        faults.require(
            path.startswith(("/", "@")), f"{text!r} names neither an absolute path nor an '@' name"
        )
        return
    host, _, port = text.rpartition(":")
    if host not in _ENDPOINTS or not port.isdigit() or not 1 <= int(port) <= 65535:
        faults.add(
            f"{text!r} is not one of {', '.join(f'{known}:PORT' for known in _ENDPOINTS)}, unix:///PATH"
        )


def _tls(listener: IstioIngressListener, tls: ServerTLSSettings, faults: Faults) -> None:
    if tls.mode not in ("SIMPLE", "MUTUAL"):
        faults.at("mode").add(f"{tls.mode} is not one of SIMPLE, MUTUAL, which sidecars end")
    if listener.port.protocol.upper() not in ("HTTPS", "TLS"):
        faults.add(f"TLS is ended on ports of protocol HTTPS or TLS, not {listener.port.protocol}")
    validate_server_tls(tls, faults)


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
