"""TLS at the edge: what a gateway's listener terminates with, and the Secrets that it uses.

Certificates reach only the gateways whose Gateways refer to them, over ADS, named as in Istio:
`kubernetes://<namespace>/<name>`, `configmap://…`, or `file-cert:…` where only paths are sent, which Envoy
reads and watches itself. What is missing or unusable concerns its own server only.
"""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from envoy.config.core.v3 import config_source_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2

from marline.api.core import ConfigMapBody, SecretBody
from marline.api.resource import Ref, Resource
from marline.compile.resource import SECRET, Recipe
from marline.compile.tls import HTTP_ALPN, mesh_server_context
from marline.mesh.mesh_tls import MeshPeers

Body = SecretBody | ConfigMapBody
CA_SUFFIX: Final = "-cacert"
_CERTIFICATE_KEYS: Final = (("tls.crt", "tls.key"), ("cert", "key"))
"""The names in a `kubernetes.io/tls` Secret, and Istio's for a generic one."""
_CA_KEYS: Final = ("ca.crt", "cacert")
_CRL_KEYS: Final = ("ca.crl", "crl")
_FILE_CERTIFICATE: Final = "file-cert:"
_FILE_CA: Final = "file-root:"
_SEPARATOR: Final = "~"
"""Between the paths in a name, as in Istio."""
_MIN_RSA_BITS: Final = 2048
"""BoringSSL, and so Envoy, refuses shorter RSA keys."""
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
_VERSIONS: Final = {
    "TLSV1_0": common_pb2.TlsParameters.TLSv1_0,
    "TLSV1_1": common_pb2.TlsParameters.TLSv1_1,
    "TLSV1_2": common_pb2.TlsParameters.TLSv1_2,
    "TLSV1_3": common_pb2.TlsParameters.TLSv1_3,
}


@dataclass(frozen=True, slots=True)
class Termination:
    """How a server terminates TLS."""

    certificates: tuple[str, ...]
    """SDS names of the server's certificates; empty only with `mesh_identity`."""
    client_ca: str = ""
    """SDS name of the CA that vouches for clients; "": no client certificates."""
    subject_alt_names: tuple[str, ...] = ()
    spki_pins: tuple[str, ...] = ()
    """Base64 SHA-256 digests, one of which must be of the client certificate's public key."""
    hash_pins: tuple[str, ...] = ()
    """Hex SHA-256 digests, one of which must be of the client certificate."""
    min_version: str = "TLS_AUTO"
    max_version: str = "TLS_AUTO"
    cipher_suites: tuple[str, ...] = ()
    client_may_be_unknown: bool = False
    """A client need not show a certificate; one that it shows is verified."""
    client_may_be_anybody: bool = False
    """A client's certificate is passed on, whoever has signed it."""
    mesh_identity: MeshPeers | None = None
    """mTLS with the identities of the mesh, the gateway's own and clients'; None: with `certificates`."""
    alpn: tuple[str, ...] = HTTP_ALPN

    @property
    def identifies_clients(self) -> bool:
        """Is a client who its certificate says?"""
        return bool(self.mesh_identity or (self.client_ca and not self.client_may_be_anybody))


def certificate_name(namespace: str, name: str) -> str:
    """The SDS name of a Secret's certificate."""
    return f"kubernetes://{namespace}/{name}"


def ca_name(namespace: str, name: str) -> str:
    """The SDS name of the CA certificates for clients that go with a credential."""
    return f"kubernetes://{namespace}/{name}{CA_SUFFIX}"


def config_map_ca_name(namespace: str, name: str) -> str:
    """The SDS name of the CA certificates in a ConfigMap."""
    return f"configmap://{namespace}/{name}{CA_SUFFIX}"


def file_certificate_name(certificate: str, key: str) -> str:
    """The SDS name of a certificate and its key in files."""
    return f"{_FILE_CERTIFICATE}{certificate}{_SEPARATOR}{key}"


def file_ca_name(authority: str, revoked: str = "") -> str:
    """The SDS name of CA certificates in a file, with their revocation list if there is one."""
    return f"{_FILE_CA}{authority}{_SEPARATOR}{revoked}".rstrip(_SEPARATOR)


def downstream_tls(termination: Termination) -> tls_pb2.DownstreamTlsContext:
    """The transport socket's configuration. TLS 1.2 is the least unless the server says otherwise, as
    at Istio's gateways; HTTP/2 is offered first."""
    if termination.mesh_identity is not None:
        return mesh_server_context(termination.mesh_identity, termination.alpn, termination.subject_alt_names)
    made = tls_pb2.DownstreamTlsContext()
    common = made.common_tls_context
    common.alpn_protocols.extend(termination.alpn)
    common.tls_params.tls_minimum_protocol_version = _VERSIONS.get(
        termination.min_version, common_pb2.TlsParameters.TLSv1_2
    )
    if termination.max_version in _VERSIONS:
        common.tls_params.tls_maximum_protocol_version = _VERSIONS[termination.max_version]
    common.tls_params.cipher_suites.extend(termination.cipher_suites)
    for name in termination.certificates:
        _over_ads(common.tls_certificate_sds_secret_configs.add(name=name))
    if termination.client_ca:
        made.require_client_certificate.value = not (
            termination.client_may_be_unknown or termination.client_may_be_anybody
        )
        _verify_client(common, termination)
    return made


def _verify_client(common: Any, termination: Termination) -> None:
    """Envoy merges what the server demands of clients into the CA's validation context."""
    combined = common.combined_validation_context
    _over_ads(combined.validation_context_sds_secret_config)
    combined.validation_context_sds_secret_config.name = termination.client_ca
    demands = combined.default_validation_context
    if termination.client_may_be_anybody:
        demands.trust_chain_verification = common_pb2.CertificateValidationContext.ACCEPT_UNTRUSTED
    demands.verify_certificate_spki.extend(termination.spki_pins)
    demands.verify_certificate_hash.extend(termination.hash_pins)
    kinds = common_pb2.SubjectAltNameMatcher
    for name in termination.subject_alt_names:
        for kind in (kinds.URI, kinds.DNS):
            matcher = demands.match_typed_subject_alt_names.add(san_type=kind)
            matcher.matcher.exact = name


def _over_ads(config: Any) -> None:
    config.sds_config.ads.SetInParent()
    config.sds_config.resource_api_version = config_source_pb2.ApiVersion.V3


def certificate_recipe(name: str, secret: Resource[SecretBody]) -> Recipe:
    """The server certificate in a Secret, under the given SDS name."""
    return Recipe(SECRET, name, build_certificate, (name, secret), (secret.ref,))


def ca_recipe(name: str, holder: Resource[Body]) -> Recipe:
    """The CA certificates in a Secret or ConfigMap, under the given SDS name."""
    return Recipe(SECRET, name, build_ca, (name, holder), (holder.ref,))


def file_recipe(name: str, source: Ref) -> Recipe | None:
    """The Secret of a name that says where its files are; None for any other name."""
    if not name.startswith((_FILE_CERTIFICATE, _FILE_CA)):
        return None
    return Recipe(SECRET, name, build_from_files, (name,), (source,))


def build_certificate(name: str, secret: Resource[SecretBody]) -> secret_pb2.Secret:
    made = secret_pb2.Secret(name=name)
    pair = _pair(secret.spec)
    if pair is not None:
        made.tls_certificate.certificate_chain.inline_bytes = pair[0]
        made.tls_certificate.private_key.inline_bytes = pair[1]
    return made


def build_ca(name: str, holder: Resource[Body]) -> secret_pb2.Secret:
    made = secret_pb2.Secret(name=name)
    made.validation_context.trusted_ca.inline_bytes = _first(holder.spec, _CA_KEYS) or b""
    revoked = _first(holder.spec, _CRL_KEYS)
    if revoked is not None:
        made.validation_context.crl.inline_bytes = revoked
    return made


def build_from_files(name: str) -> secret_pb2.Secret:
    """Envoy reads the files, and reads them again when they are replaced (Envoy documentation, "SDS",
    "Key rotation"); nothing of them passes through here."""
    made = secret_pb2.Secret(name=name)
    kind, _, paths = name.partition(":")
    first, _, second = paths.partition(_SEPARATOR)
    if f"{kind}:" == _FILE_CERTIFICATE:
        made.tls_certificate.certificate_chain.filename = first
        made.tls_certificate.private_key.filename = second
        return made
    made.validation_context.trusted_ca.filename = first
    if second:
        made.validation_context.crl.filename = second
    return made


@lru_cache(maxsize=4096)
def certificate_fault(secret: Resource[SecretBody]) -> str:
    """Why Envoy could not serve the certificate of a Secret, in one sentence; "" when it can."""
    pair = _pair(secret.spec)
    if pair is None:
        return f"{secret.ref} has no 'tls.crt' and 'tls.key'"
    try:
        chain = x509.load_pem_x509_certificates(pair[0])
        key = serialization.load_pem_private_key(pair[1], password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        return f"{secret.ref} holds no readable PEM certificate and key: {error}"
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < _MIN_RSA_BITS:
            return f"{secret.ref} has an RSA key of {key.key_size} bits; {_MIN_RSA_BITS} are required"
    elif not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _CURVES:
        return f"{secret.ref} has a key that is neither RSA nor ECDSA on P-256, P-384 or P-521"
    if key.public_key() != chain[0].public_key():
        return f"{secret.ref} has a key that does not belong to its certificate"
    return ""


@lru_cache(maxsize=4096)
def ca_fault(holder: Resource[Body]) -> str:
    """Why the CA certificates of a Secret or ConfigMap are of no use, in one sentence; "" when they are."""
    found = _first(holder.spec, _CA_KEYS)
    if found is None:
        return f"{holder.ref} has no 'ca.crt'"
    try:
        x509.load_pem_x509_certificates(found)
    except (ValueError, x509.InvalidVersion) as error:
        return f"{holder.ref} holds no readable PEM CA certificate: {error}"
    revoked = _first(holder.spec, _CRL_KEYS)
    try:
        if revoked is not None:
            x509.load_pem_x509_crl(revoked)
    except ValueError as error:
        return f"{holder.ref} holds no readable PEM revocation list: {error}"
    return ""


def has_ca(holder: Resource[Body]) -> bool:
    return _first(holder.spec, _CA_KEYS) is not None


def authority_pem(holder: Resource[Body]) -> str:
    """The CA certificates in a Secret or ConfigMap."""
    return (_first(holder.spec, _CA_KEYS) or b"").decode()


def _pair(body: SecretBody) -> tuple[bytes, bytes] | None:
    for certificate_key, private_key in _CERTIFICATE_KEYS:
        certificate, key = _value(body, certificate_key), _value(body, private_key)
        if certificate and key:
            return certificate, key
    return None


def _first(body: Body, keys: Iterable[str]) -> bytes | None:
    return next((value for key in keys if (value := _value(body, key))), None)


def _value(body: Body, key: str) -> bytes | None:
    """`stringData` counts too: the API server would have moved it to `data`. A ConfigMap's are plain text."""
    if isinstance(body, ConfigMapBody):
        return body.data[key].encode() if key in body.data else None
    if key in body.string_data:
        return body.string_data[key].encode()
    if key not in body.data:
        return None
    try:
        return base64.b64decode(body.data[key], validate=True)
    except binascii.Error:
        return None
