"""TLS between proxies: SVIDs and the trust bundle by SDS, peers known by their SPIFFE IDs.

Secrets come from the node's own SDS server (cluster `sds-grpc`), so keys never pass through here.
"""

import re
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from envoy.config.core.v3 import base_pb2, config_source_pb2
from envoy.extensions.string_matcher.lua.v3 import lua_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2

from marline.mesh.mesh_tls import Exchange, MeshPeers, MeshTls

SDS_CLUSTER: Final = "sds-grpc"
"""The bootstrap's cluster for the SDS server."""
SVID_SECRET: Final = "default"  # noqa: S105 (a name)
BUNDLE_SECRET: Final = "ROOTCA"  # noqa: S105 (a name)
SNI_SUFFIX: Final = "mesh.marline"
"""What tells connections of the mesh from an application's own TLS where both are accepted: the server
name ends with it. (Istio tells them apart by ALPN, for which it has a filter of its own.)"""
NOBODY: Final = "spiffe://invalid"
"""An identity that nobody has: what a client expects of a service of which it knows no identity."""

_SECRET_SECONDS: Final = 1
_TLS1_2 = common_pb2.TlsParameters.TlsProtocol.TLSv1_2
_TLS1_3 = common_pb2.TlsParameters.TlsProtocol.TLSv1_3
_URI = common_pb2.SubjectAltNameMatcher.SanType.URI
_PLAIN: Final = re.compile(r"[A-Za-z0-9._:/-]+")
_CURVES: Final = {
    Exchange.HYBRID: ("X25519MLKEM768", "X25519", "P-256"),
    Exchange.POST_QUANTUM: ("X25519MLKEM768",),
    Exchange.FIPS: ("P-256", "P-384"),
}
"""In order of preference. The first is safe from whoever records now and has a quantum computer later."""
_CIPHERS: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
)
"""For TLS 1.2, as Istio's; those of TLS 1.3 cannot be chosen."""


def mesh_sni(hostname: str, port: int, subset: str = "") -> str:
    """The server name of a connection to a service: Istio's form, under the mesh's own suffix."""
    return f"outbound_.{port}_.{subset}_.{hostname.replace('*', 'any')}.{SNI_SUFFIX}"


def mutual_tls_socket(sni: str, sans: tuple[str, ...], peers: MeshPeers) -> Any:
    """The client's side of mTLS in the mesh: one of the SPIFFE IDs is expected."""
    context = tls_pb2.UpstreamTlsContext(sni=sni)
    accepted = tuple(san for san in sans if san not in peers.revoked)
    _mesh_identity(context.common_tls_context, accepted or (NOBODY,), peers)
    return _socket("envoy.transport_sockets.tls", context)


def tls_socket_of(context: tls_pb2.DownstreamTlsContext) -> Any:
    """A server's side of any TLS."""
    return _socket("envoy.transport_sockets.tls", context)


def mesh_server_socket(peers: MeshPeers, alpn: tuple[str, ...] = ()) -> Any:
    """The server's side of mTLS: a certificate that the mesh's bundle vouches for is demanded.

    Without `alpn` nothing is negotiated: the connection manager recognises HTTP/2 by its preface. A port
    whose protocol is not declared negotiates, since the client's ALPN says whether it speaks HTTP.
    """
    return tls_socket_of(mesh_server_context(peers, alpn, ()))


def mesh_server_context(
    peers: MeshPeers, alpn: tuple[str, ...], sans: tuple[str, ...]
) -> tls_pb2.DownstreamTlsContext:
    """What is in that socket; with `sans` the client must have one of these SPIFFE IDs, else one of the
    mesh's trust domains: roots that are not the mesh's own may vouch for others, too."""
    context = tls_pb2.DownstreamTlsContext()
    context.require_client_certificate.value = True
    accepted = tuple(san for san in sans if san not in peers.revoked)
    validation = _mesh_identity(context.common_tls_context, accepted or (sans and (NOBODY,)), peers)
    if not sans:
        _expect_any(validation.match_typed_subject_alt_names, peers)
    context.common_tls_context.alpn_protocols.extend(alpn)
    return context


def _expect_any(names: Any, peers: MeshPeers) -> None:
    """Whoever is of the mesh's trust domains and is not revoked."""
    prefixes = [f"spiffe://{domain}/" for domain in peers.trust_domains]
    if not peers.revoked:
        for prefix in prefixes:
            names.add(san_type=_URI).matcher.prefix = prefix
        return
    # No other matcher of Envoy's can say "not this one"; it is asked once for each handshake.
    own = " or ".join(f"value:sub(1, {len(item)}) == {_lua(item)}" for item in prefixes)
    listed = ", ".join(f"[{_lua(item)}] = true" for item in sorted(peers.revoked))
    code = (
        f"local revoked = {{{listed}}}\n"
        f"function envoy_match(value)\n  return ({own}) and not revoked[value]\nend\n"
    )
    custom = names.add(san_type=_URI).matcher.custom
    custom.name = "envoy.string_matcher.lua"
    script = lua_pb2.Lua()
    script.source_code.inline_string = code
    custom.typed_config.Pack(script)


def _lua(text: str) -> str:
    """A Lua string; SPIFFE IDs and trust domains have no character that would need more."""
    if not _PLAIN.fullmatch(text):
        raise ValueError(f"{text!r} is not part of a SPIFFE ID")
    return f'"{text}"'


HTTP_ALPN: Final = ("h2", "http/1.1")
"""What Envoy's HTTP connection pools offer by themselves, when the cluster's TLS settings say nothing."""


def _mesh_identity(common: Any, sans: tuple[str, ...], peers: MeshPeers) -> Any:
    """Returns where the names stand that the peer may have."""
    _agree(common.tls_params, peers.agreed)
    common.tls_certificate_sds_secret_configs.append(_sds(SVID_SECRET))
    combined = common.combined_validation_context
    combined.validation_context_sds_secret_config.CopyFrom(_sds(BUNDLE_SECRET))
    combined.default_validation_context.SetInParent()
    for san in sans:
        matcher = combined.default_validation_context.match_typed_subject_alt_names.add(san_type=_URI)
        matcher.matcher.exact = san
    return combined.default_validation_context


def _agree(parameters: Any, agreed: MeshTls) -> None:
    parameters.tls_minimum_protocol_version = _TLS1_2 if agreed.allows_tls1_2 else _TLS1_3
    parameters.tls_maximum_protocol_version = _TLS1_3
    parameters.ecdh_curves.extend(_CURVES[agreed.exchange])
    if agreed.allows_tls1_2:
        parameters.cipher_suites.extend(_CIPHERS)
    if agreed.exchange is Exchange.FIPS:
        # The one way to choose the ciphers of TLS 1.3, too.
        parameters.compliance_policies.append(common_pb2.TlsParameters.CompliancePolicy.FIPS_202205)


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


@dataclass(frozen=True, slots=True)
class ServerTls:
    """How a server outside the mesh is called (DestinationRule modes SIMPLE and MUTUAL). Files are the
    proxy's machine's."""

    sni: str
    """"": the host that the request names."""
    is_mutual: bool
    """The client shows a certificate of its own."""
    credential: str
    """SDS name of a client's certificate, and with `-cacert` of the CA; "": the files count."""
    certificate_file: str
    key_file: str
    ca_file: str
    crl_file: str
    sans: tuple[str, ...]
    """Of these names the server must have one; none: the name that it is called by."""
    skip_verify: bool


def credential_secret(namespace: str, name: str) -> str:
    """The SDS name of a client's credential; a server's certificate from the same Secret has another."""
    return f"credential://{namespace}/{name}"


def tls_socket(server: ServerTls) -> Any:
    """The client's side of TLS to a server outside the mesh."""
    context = tls_pb2.UpstreamTlsContext(sni=server.sni)
    common = context.common_tls_context
    _set_versions(common)
    if server.is_mutual and server.credential:
        _over_ads(common.tls_certificate_sds_secret_configs.add(name=server.credential))
    elif server.is_mutual and server.certificate_file:
        pair = common.tls_certificates.add()
        pair.certificate_chain.filename = server.certificate_file
        pair.private_key.filename = server.key_file
    if not server.sni:
        context.auto_host_sni = True
    if not server.skip_verify:
        context.auto_sni_san_validation = not server.sans
        _expect(_authority(common, server), server.sans)
    return _socket("envoy.transport_sockets.tls", context)


def _authority(common: Any, server: ServerTls) -> Any:
    """Set who vouches for the server. Returns where the names stand that it may have."""
    if server.credential:
        combined = common.combined_validation_context
        combined.validation_context_sds_secret_config.name = f"{server.credential}-cacert"
        _over_ads(combined.validation_context_sds_secret_config)
        combined.default_validation_context.SetInParent()
        return combined.default_validation_context
    common.validation_context.trusted_ca.filename = server.ca_file
    if server.crl_file:
        common.validation_context.crl.filename = server.crl_file
    return common.validation_context


def _expect(validation: Any, sans: tuple[str, ...]) -> None:
    kind = common_pb2.SubjectAltNameMatcher.SanType
    for san in sans:
        matcher = validation.match_typed_subject_alt_names.add(
            san_type=kind.URI if "://" in san else kind.DNS
        )
        matcher.matcher.exact = san


class Trust(NamedTuple):
    """Whose signature counts: CA certificates, and a file with more of them; neither: nobody's."""

    authorities: str
    file: str


def policy_socket(sni: str, names: tuple[str, ...], trust: Trust, client_certificate: str) -> Any:
    """The client's side of TLS to a server that a BackendTLSPolicy describes. A wildcard among `names` is for
    names of one more label, as in certificates."""
    context = tls_pb2.UpstreamTlsContext(sni=sni)
    common = context.common_tls_context
    _set_versions(common)
    if client_certificate:
        _over_ads(common.tls_certificate_sds_secret_configs.add(name=client_certificate))
    validation = common.validation_context
    if trust.authorities:
        validation.trusted_ca.inline_string = trust.authorities
    elif trust.file:
        validation.trusted_ca.filename = trust.file
    else:
        # No certificate has this digest, so that no connection is made.
        validation.verify_certificate_hash.append("00" * 32)
        return _socket("envoy.transport_sockets.tls", context)
    _expect(validation, names)
    return _socket("envoy.transport_sockets.tls", context)


def _over_ads(config: Any) -> None:
    """Without the Secret a cluster gets ready soon, and its connections fail: nothing else has to wait."""
    config.sds_config.ads.SetInParent()
    config.sds_config.resource_api_version = config_source_pb2.ApiVersion.V3
    config.sds_config.initial_fetch_timeout.seconds = _SECRET_SECONDS


def plain_socket() -> Any:
    return _socket("envoy.transport_sockets.raw_buffer", raw_buffer_pb2.RawBuffer())


def _socket(name: str, config: Any) -> Any:
    made = base_pb2.TransportSocket(name=name)
    made.typed_config.Pack(config)
    return made
