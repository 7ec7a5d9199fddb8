"""TLS between proxies: SVIDs and the trust bundle by SDS, peers known by their SPIFFE IDs.

Secrets come from the node's own SDS server (cluster `sds-grpc`), so keys never pass through here.
"""

from typing import Any, Final

from envoy.config.core.v3 import base_pb2, config_source_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2

SDS_CLUSTER: Final = "sds-grpc"
"""The bootstrap's cluster for the SDS server."""
SVID_SECRET: Final = "default"  # noqa: S105 (a name)
BUNDLE_SECRET: Final = "ROOTCA"  # noqa: S105 (a name)
SNI_SUFFIX: Final = "mesh.marline"
"""What tells connections of the mesh from an application's own TLS where both are accepted: the server
name ends with it. (Istio tells them apart by ALPN, for which it has a filter of its own.)"""
NOBODY: Final = "spiffe://invalid"
"""An identity that nobody has: what a client expects of a service of which it knows no identity."""

_TLS1_2 = common_pb2.TlsParameters.TlsProtocol.TLSv1_2
_TLS1_3 = common_pb2.TlsParameters.TlsProtocol.TLSv1_3
_CIPHERS: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
)
"""For TLS 1.2, as Istio's; those of TLS 1.3 cannot be chosen."""


def mesh_sni(hostname: str, port: int, subset: str = "") -> str:
    """The server name of a connection to a service: Istio's form, under the mesh's own suffix."""
    return f"outbound_.{port}_.{subset or '_'}.{hostname.replace('*', 'any')}.{SNI_SUFFIX}"


def mutual_tls_socket(sni: str, sans: tuple[str, ...]) -> Any:
    """The client's side of mTLS in the mesh: one of the SPIFFE IDs is expected."""
    context = tls_pb2.UpstreamTlsContext(sni=sni)
    _mesh_identity(context.common_tls_context, sans or (NOBODY,))
    return _socket("envoy.transport_sockets.tls", context)


def mesh_server_socket(alpn: tuple[str, ...] = ()) -> Any:
    """The server's side of mTLS: a certificate that the mesh's bundle vouches for is demanded.

    Without `alpn` nothing is negotiated: the connection manager recognises HTTP/2 by its preface. A port
    whose protocol is not declared negotiates, since the client's ALPN says whether it speaks HTTP.
    """
    context = tls_pb2.DownstreamTlsContext()
    context.require_client_certificate.value = True
    _mesh_identity(context.common_tls_context, ())
    context.common_tls_context.alpn_protocols.extend(alpn)
    return _socket("envoy.transport_sockets.tls", context)


HTTP_ALPN: Final = ("h2", "http/1.1")
"""What Envoy's HTTP connection pools offer by themselves, when the cluster's TLS settings say nothing."""


def _mesh_identity(common: Any, sans: tuple[str, ...]) -> None:
    _set_versions(common)
    common.tls_params.cipher_suites.extend(_CIPHERS)
    common.tls_certificate_sds_secret_configs.append(_sds(SVID_SECRET))
    combined = common.combined_validation_context
    combined.validation_context_sds_secret_config.CopyFrom(_sds(BUNDLE_SECRET))
    combined.default_validation_context.SetInParent()
    for san in sans:
        matcher = combined.default_validation_context.match_typed_subject_alt_names.add()
        matcher.san_type = common_pb2.SubjectAltNameMatcher.SanType.URI
        matcher.matcher.exact = san


def _set_versions(common: Any) -> None:
    """As Istio's: without a maximum an Envoy that is a client offers no more than TLS 1.2."""
    common.tls_params.tls_minimum_protocol_version = _TLS1_2
    common.tls_params.tls_maximum_protocol_version = _TLS1_3


def _sds(name: str) -> Any:
    made = secret_pb2.SdsSecretConfig(name=name)
    made.sds_config.resource_api_version = config_source_pb2.ApiVersion.V3
    # No limit: a listener or cluster without identity must wait for it, not serve without.
    made.sds_config.initial_fetch_timeout.seconds = 0
    source = made.sds_config.api_config_source
    source.api_type = config_source_pb2.ApiConfigSource.ApiType.GRPC
    source.transport_api_version = config_source_pb2.ApiVersion.V3
    source.set_node_on_first_message_only = True
    source.grpc_services.add().envoy_grpc.cluster_name = SDS_CLUSTER
    return made


def tls_socket(
    *,
    sni: str,
    ca_file: str,
    certificate_file: str,
    key_file: str,
    sans: tuple[str, ...],
    skip_verify: bool,
) -> Any:
    """TLS to a server outside the mesh (DestinationRule modes SIMPLE and MUTUAL), with files of the
    proxy's machine. Without names to expect the server must have the one that it is called by."""
    context = tls_pb2.UpstreamTlsContext(sni=sni)
    common = context.common_tls_context
    _set_versions(common)
    if certificate_file:
        pair = common.tls_certificates.add()
        pair.certificate_chain.filename = certificate_file
        pair.private_key.filename = key_file
    if not sni:
        context.auto_host_sni = True
    if not skip_verify:
        _server_validation(context, ca_file, sans)
    return _socket("envoy.transport_sockets.tls", context)


def _server_validation(context: Any, ca_file: str, sans: tuple[str, ...]) -> None:
    validation = context.common_tls_context.validation_context
    validation.trusted_ca.filename = ca_file
    if not sans:
        context.auto_sni_san_validation = True
    for san in sans:
        kind = common_pb2.SubjectAltNameMatcher.SanType
        for san_type in (kind.URI,) if "://" in san else (kind.DNS,):
            matcher = validation.match_typed_subject_alt_names.add(san_type=san_type)
            matcher.matcher.exact = san


def plain_socket() -> Any:
    return _socket("envoy.transport_sockets.raw_buffer", raw_buffer_pb2.RawBuffer())


def _socket(name: str, config: Any) -> Any:
    made = base_pb2.TransportSocket(name=name)
    made.typed_config.Pack(config)
    return made
