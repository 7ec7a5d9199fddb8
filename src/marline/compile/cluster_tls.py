"""How a cluster secures its connections: automatic mTLS, or what a DestinationRule's `tls` says."""

from typing import Any, Final

from envoy.config.core.v3 import base_pb2, proxy_protocol_pb2
from envoy.extensions.transport_sockets.proxy_protocol.v3 import upstream_proxy_protocol_pb2

from marline.api.networking.destination_rule import ClientTLSSettings, ProxyProtocol
from marline.compile.backend_tls import BackendTls
from marline.compile.cluster_spec import ClusterSpec, Discovery
from marline.compile.endpoints import MTLS_MODE
from marline.compile.tls import (
    ServerTls,
    Trust,
    mesh_sni,
    mutual_tls_socket,
    plain_socket,
    policy_socket,
    tls_socket,
)

_PROXY_VERSIONS: Final = {
    "V1": proxy_protocol_pb2.ProxyProtocolConfig.V1,
    "V2": proxy_protocol_pb2.ProxyProtocolConfig.V2,
}


def set_transport(cluster: Any, spec: ClusterSpec, settings: ClientTLSSettings | None) -> None:
    """Set the transport sockets of a cluster.

    Automatic mTLS (istio.io, "Auto mutual TLS") is decided for each endpoint by its metadata; where the
    endpoints are not listed, for all at once. It is not for services outside the mesh.
    """
    sni = mesh_sni(spec.hostname, spec.port.number, spec.subset)
    if spec.backend_tls is not None:
        cluster.transport_socket.CopyFrom(_backend_tls(spec, spec.backend_tls))
    elif settings is None:
        _automatic(cluster, spec, sni)
    elif settings.mode == "ISTIO_MUTUAL":
        sans = settings.subject_alt_names or spec.expected
        cluster.transport_socket.CopyFrom(mutual_tls_socket(settings.sni or sni, sans, spec.peers))
    elif settings.mode in ("SIMPLE", "MUTUAL"):
        cluster.transport_socket.CopyFrom(_server_tls(spec, settings))


def set_proxy_protocol(cluster: Any, settings: ProxyProtocol | None) -> None:
    """Let every connection begin with a PROXY header, before any TLS (Envoy, "Upstream proxy protocol")."""
    if settings is None:
        return
    sockets = [match.transport_socket for match in cluster.transport_socket_matches]
    if not sockets or cluster.HasField("transport_socket"):
        sockets.append(cluster.transport_socket)
    for socket in sockets:
        inner = base_pb2.TransportSocket()
        inner.CopyFrom(socket if socket.name else plain_socket())
        made = upstream_proxy_protocol_pb2.ProxyProtocolUpstreamTransport(transport_socket=inner)
        made.config.version = _PROXY_VERSIONS[settings.version]
        socket.name = "envoy.transport_sockets.upstream_proxy_protocol"
        socket.typed_config.Pack(made)


def _automatic(cluster: Any, spec: ClusterSpec, sni: str) -> None:
    if spec.external:
        return
    if spec.discovery is Discovery.EDS:
        match = cluster.transport_socket_matches.add(name="tlsMode-istio")
        match.match.update(dict([MTLS_MODE]))
        match.transport_socket.CopyFrom(mutual_tls_socket(sni, spec.expected, spec.peers))
        other = cluster.transport_socket_matches.add(name="tlsMode-disabled")
        other.match.SetInParent()
        other.transport_socket.CopyFrom(plain_socket())
    elif spec.discovery is Discovery.ORIGINAL and spec.all_mtls:
        cluster.transport_socket.CopyFrom(mutual_tls_socket(sni, spec.expected, spec.peers))


def _backend_tls(spec: ClusterSpec, settings: BackendTls) -> Any:
    trust = Trust(settings.authorities, spec.system_ca_file if settings.system else "")
    return policy_socket(settings.sni, settings.names, trust, settings.client_certificate)


def _server_tls(spec: ClusterSpec, settings: ClientTLSSettings) -> Any:
    return tls_socket(
        ServerTls(
            sni=settings.sni or ("" if spec.hostname.startswith("*") else spec.hostname),
            is_mutual=settings.mode == "MUTUAL",
            credential=spec.credential,
            certificate_file=settings.client_certificate,
            key_file=settings.private_key,
            ca_file=settings.ca_certificates or spec.system_ca_file,
            crl_file=settings.ca_crl,
            sans=settings.subject_alt_names or spec.expected,
            skip_verify=bool(settings.insecure_skip_verify),
        )
    )
