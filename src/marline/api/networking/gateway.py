"""Istio's Gateway: ports, hosts and certificates at the edge (istio.io, "Gateway" reference)."""

import base64
import re
from typing import Annotated, Final, Literal

from msgspec import Meta

from marline.api import rules
from marline.api.errors import Fault
from marline.api.faults import Faults, nearest
from marline.api.model import Model
from marline.api.refusals import Refusals
from marline.api.resource import Resource

TLSProtocol = Literal["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"]


class ServerPort(Model, frozen=True):
    number: Annotated[int, Meta(ge=1, le=65535)]
    protocol: str
    name: str
    target_port: Annotated[int, Meta(ge=0, le=65535)] = 0


class TLSCertificate(Model, frozen=True):
    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""


class ServerTLSSettings(Model, frozen=True):
    https_redirect: bool = False
    mode: Literal[
        "PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"
    ] = "PASSTHROUGH"
    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    ca_crl: str = ""
    credential_name: str = ""
    credential_names: tuple[str, ...] = ()
    tls_certificates: tuple[TLSCertificate, ...] = ()
    subject_alt_names: tuple[str, ...] = ()
    verify_certificate_spki: tuple[str, ...] = ()
    verify_certificate_hash: tuple[str, ...] = ()
    min_protocol_version: TLSProtocol = "TLS_AUTO"
    max_protocol_version: TLSProtocol = "TLS_AUTO"
    cipher_suites: tuple[str, ...] = ()


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


_FILES: Final = "certificates from files; put them into a Secret and use credentialName"

REFUSED: Final[Refusals] = {
    "servers[].port.targetPort": "the gateway's own ports are mapped where it is started",
    "servers[].bind": "binding to a given address; a gateway listens on the address that it was started with",
    "servers[].defaultEndpoint": "default endpoints",
    "servers[].tls.mode=AUTO_PASSTHROUGH": "multi-network gateways",
    "servers[].tls.mode=ISTIO_MUTUAL": "gateways that use the mesh's own identities",
    "servers[].tls.mode=OPTIONAL_MUTUAL": "client certificates that are verified only if presented",
    "servers[].tls.serverCertificate": _FILES,
    "servers[].tls.privateKey": _FILES,
    "servers[].tls.caCertificates": _FILES,
    "servers[].tls.tlsCertificates": "certificates from files; put them into a Secret and use credentialName",
    "servers[].tls.caCrl": "certificate revocation lists",
    "servers[].tls.credentialNames": "several certificates for one server; use a server for each host",
}

_PROTOCOLS: Final = ("HTTP", "HTTP2", "GRPC", "HTTPS", "TLS", "TCP", "MONGO")
_CIPHERS: Final = frozenset(
    [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-RSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA",
        "ECDHE-RSA-AES256-SHA",
        "AES128-GCM-SHA256",
        "AES256-GCM-SHA384",
        "AES128-SHA",
        "AES256-SHA",
    ]
)
_VERSION_ORDER: Final = ("TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3")


def validate(resource: Resource[GatewaySpec], faults: Faults) -> None:
    """Istio's rules for a Gateway."""
    spec = resource.spec
    faults.required(spec.servers, "servers")
    rules.labels(spec.selector, faults.at("selector"))
    for index, name in enumerate(names := [server.port.name for server in spec.servers]):
        if name in names[:index]:
            where = faults.at("servers").item(index).at("port").at("name")
            where.add(f"{name!r} is the name of another server's port, too; it must be unique")
    for index, server in enumerate(spec.servers):
        _server(server, faults.at("servers").item(index))


def _server(server: Server, faults: Faults) -> None:
    protocol = server.port.protocol.upper()
    if protocol not in _PROTOCOLS or protocol == "MONGO":
        faults.at("port").at("protocol").add(
            f"{server.port.protocol!r} is not one of HTTP, HTTP2, GRPC, HTTPS, TLS, TCP",
            suggestion=nearest(server.port.protocol, _PROTOCOLS[:-1]),
        )
    faults.at("port").required(server.port.name, "name")
    if faults.required(server.hosts, "hosts"):
        for index, host in enumerate(server.hosts):
            namespace, slash, name = host.rpartition("/")
            where = faults.at("hosts").item(index)
            if slash and namespace not in (".", "*"):
                rules.dns_label(namespace, where)
            rules.host(name, where, address=False)
    if protocol in ("HTTPS", "TLS") and server.tls is None:
        faults.at("tls").add(f"is required for a server with protocol {protocol}", Fault.REQUIRED)
    if server.tls:
        _tls(server.tls, protocol, faults.at("tls"))


def _tls(settings: ServerTLSSettings, protocol: str, faults: Faults) -> None:
    if protocol in ("HTTP", "HTTP2", "GRPC") and settings != ServerTLSSettings(https_redirect=True):
        if settings != ServerTLSSettings():
            faults.add(f"a server with protocol {protocol} may only set httpsRedirect")
        return
    if protocol == "TCP":
        faults.add("has no effect with protocol TCP; use TLS")
    if settings.https_redirect and protocol not in ("HTTP", "HTTP2", "GRPC"):
        faults.at("httpsRedirect").add(f"has no effect with protocol {protocol}")
    if settings.mode in ("SIMPLE", "MUTUAL"):
        if not (
            settings.credential_name
            or settings.server_certificate
            or settings.tls_certificates
            or settings.credential_names
        ):
            faults.at("credentialName").add(f"is required with mode {settings.mode}", Fault.REQUIRED)
        if settings.credential_name:
            rules.dns_subdomain(settings.credential_name, faults.at("credentialName"))
    for name, value in _without_effect(settings).items():
        if value not in ("", (), "TLS_AUTO"):
            faults.at(name).add(f"has no effect with mode {settings.mode}")
    for index, cipher in enumerate(settings.cipher_suites):
        if cipher not in _CIPHERS:
            faults.at("cipherSuites").item(index).add(
                f"{cipher!r} is not a cipher suite of TLS 1.2 that Envoy has",
                suggestion=nearest(cipher, _CIPHERS),
            )
    lowest, highest = settings.min_protocol_version, settings.max_protocol_version
    if "TLS_AUTO" not in (lowest, highest) and _VERSION_ORDER.index(lowest) > _VERSION_ORDER.index(highest):
        faults.at("minProtocolVersion").add(f"{lowest} is above maxProtocolVersion {highest}")
    for index, digest in enumerate(settings.verify_certificate_spki):
        _base64_digest(digest, faults.at("verifyCertificateSpki").item(index))
    for index, digest in enumerate(settings.verify_certificate_hash):
        if not re.fullmatch(r"[0-9a-fA-F]{64}|([0-9a-fA-F]{2}:){31}[0-9a-fA-F]{2}", digest):
            faults.at("verifyCertificateHash").item(index).add("is not a SHA-256 digest in hexadecimal")


def _without_effect(settings: ServerTLSSettings) -> dict[str, object]:
    """What a mode makes no use of: demands on clients' certificates are for MUTUAL only."""
    clients: dict[str, object] = {
        "subjectAltNames": settings.subject_alt_names,
        "verifyCertificateSpki": settings.verify_certificate_spki,
        "verifyCertificateHash": settings.verify_certificate_hash,
    }
    if settings.mode == "SIMPLE":
        return clients
    if settings.mode != "PASSTHROUGH":
        return {}
    return {
        **clients,
        "credentialName": settings.credential_name,
        "minProtocolVersion": settings.min_protocol_version,
        "maxProtocolVersion": settings.max_protocol_version,
        "cipherSuites": settings.cipher_suites,
    }


def _base64_digest(value: str, faults: Faults) -> None:
    try:
        size = len(base64.b64decode(value, validate=True))
    except ValueError:
        size = 0
    faults.require(size == 32, f"{value!r} is not a SHA-256 digest in base64")
