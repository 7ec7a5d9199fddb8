"""The ports of a workload as its sidecar serves them: those of its services, or those of its Sidecar.

istio.io, "Sidecar" reference (`ingress`, `inboundConnectionPool`): with `ingress` nothing else is served.
A listener's number is the workload's port; under explicit capture, where others reach that port at an
address of the proxy's choice, it stays reachable there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from marline.api.networking.destination_rule import ConnectionPoolSettings
from marline.api.networking.sidecar import IstioIngressListener, SidecarSpec
from marline.api.resource import Ref, Resource
from marline.compile.gateway_credentials import termination_of
from marline.compile.gateway_tls import Termination, file_recipe
from marline.compile.resource import Recipe
from marline.mesh.model import Capture, InboundPort, Protocol, Proxy, Workload
from marline.mesh.protocol import select_protocol
from marline.mesh.snapshot import MeshSnapshot

_INSTANCE: Final = "0.0.0.0"  # noqa: S104 (it stands for the workload's own address)
_UNIX: Final = "unix://"
_TERMINATED: Final = {Protocol.HTTPS: Protocol.HTTP, Protocol.TLS: Protocol.TCP}


@dataclass(frozen=True, slots=True)
class Ingress:
    """A port that a sidecar serves; without `app_address` what arrives goes to where it was sent."""

    number: int
    port: InboundPort
    pool: ConnectionPoolSettings | None = None
    tls: Termination | None = None
    bind: str = ""


def inbound_ports(
    snapshot: MeshSnapshot, proxy: Proxy, workload: Workload, sidecar: Resource[SidecarSpec] | None
) -> Iterator[Ingress]:
    """The TCP ports of a workload, first those that count if two have one number."""
    spec = sidecar.spec if sidecar is not None else SidecarSpec()
    if not spec.ingress:
        for port in workload.inbound:
            if port.protocol is not Protocol.UDP:
                yield Ingress(port.app_port, port, spec.inbound_connection_pool)
        return
    for listener in spec.ingress:
        known = _known(workload, listener.port.number)
        served = _port(proxy, workload, listener, known)
        if served is not None:
            yield Ingress(
                listener.port.number,
                served,
                listener.connection_pool or spec.inbound_connection_pool,
                _termination(snapshot, workload, listener),
                _bind(proxy, listener, known),
            )


def _known(workload: Workload, number: int) -> InboundPort | None:
    """The port of a workload that its services know, too."""
    return next((port for port in workload.inbound if number in (port.app_port, port.listen)), None)


def _port(
    proxy: Proxy, workload: Workload, listener: IstioIngressListener, known: InboundPort | None
) -> InboundPort | None:
    """None: nobody can say where the application is."""
    number, protocol = listener.port.number, select_protocol(listener.port.number, listener.port.protocol)
    if listener.tls is not None:
        protocol = _TERMINATED.get(protocol, protocol)
    if listener.default_endpoint:
        address, port = endpoint(listener.default_endpoint, workload)
    elif known is not None:
        address, port = known.app_address, known.app_port
    elif proxy.capture is Capture.TRANSPARENT:
        address, port = "", number
    else:
        return None
    found = known or InboundPort(listener.port.name, number, address, port)
    return replace(found, app_address=address, app_port=port, protocol=protocol)


def endpoint(text: str, workload: Workload) -> tuple[str, int]:
    """Where a `defaultEndpoint` is: the workload's loopback, its own address, or a Unix socket."""
    if text.startswith(_UNIX):
        return text.removeprefix(_UNIX), 0
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    return (workload.address or "127.0.0.1") if host in (_INSTANCE, "::") else host, int(port)


def _termination(
    snapshot: MeshSnapshot, workload: Workload, listener: IstioIngressListener
) -> Termination | None:
    if listener.tls is None:
        return None
    http = listener.port.protocol.upper() == "HTTPS"
    places = (workload.namespace,)
    return termination_of(snapshot, places, listener.tls, forwards_bytes=not http)[0]


def _bind(proxy: Proxy, listener: IstioIngressListener, known: InboundPort | None) -> str:
    """Where traffic is captured, only `captureMode: NONE` makes a listener of its own."""
    if proxy.capture is Capture.TRANSPARENT:
        return (listener.bind or _INSTANCE) if listener.capture_mode == "NONE" else ""
    return "" if known is not None else listener.bind


def secret_recipes(termination: Termination, sources: tuple[Ref, ...]) -> Iterable[Recipe]:
    """The certificates and authorities in files; they stay on the proxy's machine."""
    for name in (*termination.certificates, termination.client_ca):
        made = file_recipe(name, sources[-1]) if name else None
        if made is not None:
            yield made
