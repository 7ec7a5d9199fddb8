"""Istio's Gateway: ports, hosts and certificates at the edge (istio.io, "Gateway" reference)."""

import re
from typing import Annotated, Final

from msgspec import Meta

from marline.api import rules
from marline.api.errors import Fault
from marline.api.faults import Faults, nearest
from marline.api.model import Model
from marline.api.networking.server_tls import ServerTLSSettings, validate_server_tls
from marline.api.refusals import Refusals
from marline.api.resource import Resource


class ServerPort(Model, frozen=True):
    number: Annotated[int, Meta(ge=0, le=65535)]
    protocol: str
    name: str
    target_port: Annotated[int, Meta(ge=0, le=65535)] = 0


class Server(Model, frozen=True):
    port: ServerPort
    hosts: tuple[str, ...]
    bind: str = ""
    tls: ServerTLSSettings | None = None
    default_endpoint: str = ""
    name: str = ""


class GatewaySpec(Model, frozen=True):
    servers: tuple[Server, ...] = ()
    selector: dict[str, str] = {}


REFUSED: Final[Refusals] = {
    "servers[].port.targetPort": "it has no effect on gateways; the application file maps their ports",
    "servers[].defaultEndpoint": "Istio reserves it and no gateway acts on it; route with a VirtualService",
    "servers[].tls.tlsCertificates[].caCertificates": "clients are verified with one set of CA certificates, "
    "whichever certificate they are shown; write it to tls.caCertificates",
}

PLAIN_HTTP: Final = ("HTTP", "HTTP2", "GRPC", "GRPC-WEB")
"""Protocols of requests without TLS."""
OPAQUE: Final = ("TCP", "MONGO", "MYSQL", "REDIS")
"""Protocols whose bytes are forwarded as they are."""
_OVER_TLS: Final = ("HTTPS", "TLS")
_PROTOCOLS: Final = (*PLAIN_HTTP, *_OVER_TLS, *OPAQUE)
UNIX: Final = "unix://"


def validate(resource: Resource[GatewaySpec], faults: Faults) -> None:
    """Istio's rules for a Gateway."""
    spec = resource.spec
    faults.required(spec.servers, "servers")
    rules.labels(spec.selector, faults.at("selector"))
    for index, name in enumerate(names := [server.port.name for server in spec.servers]):
        if name in names[:index]:
            where = faults.at("servers").item(index).at("port").at("name")
            where.add(f"{name!r} is the name of another server's port, too; it must be unique")
    for index, name in enumerate(names := [server.name for server in spec.servers]):
        if name and name in names[:index]:
            faults.at("servers").item(index).at("name").add(f"{name!r} is the name of another server, too")
    for index, server in enumerate(spec.servers):
        _server(server, faults.at("servers").item(index))


def _server(server: Server, faults: Faults) -> None:
    protocol = server.port.protocol.upper()
    if protocol not in _PROTOCOLS:
        faults.at("port").at("protocol").add(
            f"{server.port.protocol!r} is not one of {', '.join(_PROTOCOLS)}",
            suggestion=nearest(server.port.protocol, _PROTOCOLS),
        )
    faults.at("port").required(server.port.name, "name")
    _address(server, faults)
    if faults.required(server.hosts, "hosts"):
        for index, host in enumerate(server.hosts):
            namespace, slash, name = host.rpartition("/")
            where = faults.at("hosts").item(index)
            if slash and namespace not in (".", "*"):
                rules.dns_label(namespace, where)
            rules.host(name, where, address=False)
    if protocol in _OVER_TLS and server.tls is None:
        faults.at("tls").add(f"is required for a server with protocol {protocol}", Fault.REQUIRED)
    if server.tls:
        _tls(server.tls, protocol, faults.at("tls"))


def _address(server: Server, faults: Faults) -> None:
    """An IP address and a port, or a Unix socket (`@` before its name: an abstract one) and port 0."""
    number = faults.at("port").at("number")
    if not server.bind.startswith(UNIX):
        number.require(server.port.number, "0 is a port only of a server that binds to a Unix socket")
        if server.bind and not rules.is_ip(server.bind):
            faults.at("bind").add(
                f"{server.bind!r} is neither an IP address nor a Unix socket (unix:///path)"
            )
        return
    number.require(server.port.number == 0, "must be 0 for a Unix socket")
    if not re.fullmatch(r"/.+|@.+", server.bind.removeprefix(UNIX)):
        faults.at("bind").add(f"{server.bind!r} is not of the form unix:///path or unix://@name")


def _tls(settings: ServerTLSSettings, protocol: str, faults: Faults) -> None:
    if protocol in PLAIN_HTTP and settings != ServerTLSSettings(https_redirect=True):
        if settings != ServerTLSSettings():
            faults.add(f"a server with protocol {protocol} may only set httpsRedirect")
        return
    if protocol in OPAQUE:
        faults.add(f"has no effect with protocol {protocol}; use TLS")
    if settings.https_redirect and protocol not in PLAIN_HTTP:
        faults.at("httpsRedirect").add(f"has no effect with protocol {protocol}")
    if protocol in _OVER_TLS:
        validate_server_tls(settings, faults)
