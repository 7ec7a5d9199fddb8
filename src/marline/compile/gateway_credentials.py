"""What an Istio server's TLS settings refer to: certificates and authorities in Secrets, ConfigMaps, files.

Behaviour: istio.io, "Gateway" reference (ServerTLSSettings) and the task "Secure Gateways". A server
without any certificate that Envoy could use, or whose clients nobody vouches for, refuses everybody.
"""

from collections.abc import Iterator

from marline.api.networking.server_tls import VERIFYING, ServerTLSSettings
from marline.compile.gateway_lookup import find_ca, find_certificate
from marline.compile.gateway_tls import Termination, file_ca_name, file_certificate_name
from marline.compile.tls import HTTP_ALPN
from marline.mesh.snapshot import MeshSnapshot

Found = tuple[str, str]
"""An SDS name, or "" and why there is none."""


def termination_of(
    snapshot: MeshSnapshot, namespaces: tuple[str, ...], tls: ServerTLSSettings, *, forwards_bytes: bool
) -> tuple[Termination | None, tuple[str, ...]]:
    """How a server terminates TLS, if it can, and what of its settings is of no use. Secrets and ConfigMaps
    are looked for in the first of the namespaces that has them."""
    if tls.mode == "ISTIO_MUTUAL":
        # Bytes are of the client's and the server's choice; nobody knows what ALPN to promise.
        alpn = () if forwards_bytes else HTTP_ALPN
        peers, names = snapshot.mesh_peers, tls.subject_alt_names
        return Termination((), subject_alt_names=names, mesh_identity=peers, alpn=alpn), ()
    certificates = list(_certificates(snapshot, namespaces, tls))
    authority = _authority(snapshot, namespaces, tls) if tls.mode in VERIFYING else ("", "")
    faults = tuple(fault for _, fault in (*certificates, authority) if fault)
    usable = tuple(name for name, _ in certificates if name)
    if not usable or authority[1]:
        return None, faults
    made = Termination(
        usable,
        authority[0],
        tls.subject_alt_names,
        tls.verify_certificate_spki,
        tls.verify_certificate_hash,
        tls.min_protocol_version,
        tls.max_protocol_version,
        tls.cipher_suites,
        client_may_be_unknown=tls.mode == "OPTIONAL_MUTUAL",
    )
    return made, faults


def _certificates(
    snapshot: MeshSnapshot, namespaces: tuple[str, ...], tls: ServerTLSSettings
) -> Iterator[Found]:
    for certificate, key in tls.certificate_files:
        yield file_certificate_name(certificate, key), ""
    for name in tls.credentials:
        yield find_certificate(snapshot, namespaces, name)


def _authority(snapshot: MeshSnapshot, namespaces: tuple[str, ...], tls: ServerTLSSettings) -> Found:
    if tls.ca_certificates:
        return file_ca_name(tls.ca_certificates, tls.ca_crl), ""
    return find_ca(snapshot, namespaces, tls.ca_cert_credential_name or tls.credentials[0])
