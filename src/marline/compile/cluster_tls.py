"""How a cluster secures its connections: automatic mTLS, or what a DestinationRule's `tls` says."""

from typing import Any

from marline.api.networking.destination_rule import ClientTLSSettings
from marline.compile.endpoints import MTLS_MODE
from marline.compile.tls import mesh_sni, mutual_tls_socket, plain_socket, tls_socket


def set_transport(
    cluster: Any,
    hostname: str,
    port: int,
    subset: str,
    settings: ClientTLSSettings | None,
    expected: tuple[str, ...],
    discovery: str,
    mtls: bool,
    external: bool,
) -> None:
    """Set the transport sockets of a cluster.

    Automatic mTLS (istio.io, "Auto mutual TLS") is decided for each endpoint by its metadata; where the
    endpoints are not listed, by `mtls` for all. It is not for services outside the mesh.
    """
    sni = mesh_sni(hostname, port, subset)
    if settings is None:
        if discovery == "EDS" and not external:
            match = cluster.transport_socket_matches.add(name="tlsMode-istio")
            match.match.update(dict([MTLS_MODE]))
            match.transport_socket.CopyFrom(mutual_tls_socket(sni, expected))
            other = cluster.transport_socket_matches.add(name="tlsMode-disabled")
            other.match.SetInParent()
            other.transport_socket.CopyFrom(plain_socket())
        elif mtls and not external:
            cluster.transport_socket.CopyFrom(mutual_tls_socket(sni, expected))
    elif settings.mode == "ISTIO_MUTUAL":
        sans = settings.subject_alt_names or expected
        cluster.transport_socket.CopyFrom(mutual_tls_socket(settings.sni or sni, sans))
    elif settings.mode in ("SIMPLE", "MUTUAL"):
        cluster.transport_socket.CopyFrom(_server_tls(hostname, settings, expected))


def _server_tls(hostname: str, settings: ClientTLSSettings, expected: tuple[str, ...]) -> Any:
    is_mutual = settings.mode == "MUTUAL"
    return tls_socket(
        sni=settings.sni or ("" if hostname.startswith("*") else hostname),
        ca_file=settings.ca_certificates,
        certificate_file=settings.client_certificate if is_mutual else "",
        key_file=settings.private_key if is_mutual else "",
        sans=settings.subject_alt_names or expected,
        skip_verify=bool(settings.insecure_skip_verify),
        alpn=(),
    )
