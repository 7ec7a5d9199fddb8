"""Istio's ServerTLSSettings: how a server ends TLS, and what it demands of its clients
(istio.io, "Gateway" reference, ServerTLSSettings)."""

import base64
import re
from typing import Annotated, Final, Literal

from msgspec import Meta

from marline.api import rules
from marline.api.errors import Fault
from marline.api.faults import Faults, nearest
from marline.api.model import Model

TLSProtocol = Literal["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"]


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
    credential_names: Annotated[tuple[str, ...], Meta(max_length=2)] = ()
    ca_cert_credential_name: str = ""
    tls_certificates: Annotated[tuple[TLSCertificate, ...], Meta(max_length=2)] = ()
    subject_alt_names: tuple[str, ...] = ()
    verify_certificate_spki: tuple[str, ...] = ()
    verify_certificate_hash: tuple[str, ...] = ()
    min_protocol_version: TLSProtocol = "TLS_AUTO"
    max_protocol_version: TLSProtocol = "TLS_AUTO"
    cipher_suites: tuple[str, ...] = ()

    @property
    def passes_through(self) -> bool:
        """Is TLS left to whom the connections are for?"""
        return self.mode in ("PASSTHROUGH", "AUTO_PASSTHROUGH")

    @property
    def credentials(self) -> tuple[str, ...]:
        """The names of the Secrets with the server's certificates."""
        return self.credential_names or ((self.credential_name,) if self.credential_name else ())

    @property
    def certificate_files(self) -> tuple[tuple[str, str], ...]:
        """The paths of the server's certificates and their keys."""
        if self.tls_certificates:
            return tuple((item.server_certificate, item.private_key) for item in self.tls_certificates)
        return ((self.server_certificate, self.private_key),) if self.server_certificate else ()


VERIFYING: Final = ("MUTUAL", "OPTIONAL_MUTUAL")
"""The modes that verify certificates of clients with a CA of the server's choice."""
_TERMINATING: Final = ("SIMPLE", *VERIFYING)
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
_DEFAULT_MINIMUM: Final = "TLSV1_2"


def validate_server_tls(settings: ServerTLSSettings, faults: Faults) -> None:
    """The rules for a server that ends TLS or passes it through."""
    for name, value in _without_effect(settings).items():
        if value not in ("", (), "TLS_AUTO"):
            faults.at(name).add(f"has no effect with mode {settings.mode}")
    if settings.mode in _TERMINATING:
        _certificates(settings, faults)
        _versions(settings, faults)
    if settings.mode in VERIFYING:
        _client_authority(settings, faults)
    for index, digest in enumerate(settings.verify_certificate_spki):
        _base64_digest(digest, faults.at("verifyCertificateSpki").item(index))
    for index, digest in enumerate(settings.verify_certificate_hash):
        if not re.fullmatch(r"[0-9a-fA-F]{64}|([0-9a-fA-F]{2}:){31}[0-9a-fA-F]{2}", digest):
            faults.at("verifyCertificateHash").item(index).add("is not a SHA-256 digest in hexadecimal")


def _without_effect(settings: ServerTLSSettings) -> dict[str, object]:
    """What a mode makes no use of. With ISTIO_MUTUAL certificates, authority and versions are the mesh's;
    who the clients may be can still be said."""
    demands: dict[str, object] = {
        "verifyCertificateSpki": settings.verify_certificate_spki,
        "verifyCertificateHash": settings.verify_certificate_hash,
        "caCertificates": settings.ca_certificates,
        "caCertCredentialName": settings.ca_cert_credential_name,
        "caCrl": settings.ca_crl,
    }
    if settings.mode in VERIFYING:
        return {}
    if settings.mode == "SIMPLE":
        return {**demands, "subjectAltNames": settings.subject_alt_names}
    own: dict[str, object] = {
        "serverCertificate": settings.server_certificate,
        "privateKey": settings.private_key,
        "credentialName": settings.credential_name,
        "credentialNames": settings.credential_names,
        "tlsCertificates": settings.tls_certificates,
        "minProtocolVersion": settings.min_protocol_version,
        "maxProtocolVersion": settings.max_protocol_version,
        "cipherSuites": settings.cipher_suites,
    }
    if settings.mode == "ISTIO_MUTUAL":
        return {**demands, **own}
    return {**demands, **own, "subjectAltNames": settings.subject_alt_names}


def _certificates(settings: ServerTLSSettings, faults: Faults) -> None:
    """The server's own certificates come from one place."""
    sources = {
        "credentialName": bool(settings.credential_name),
        "credentialNames": bool(settings.credential_names),
        "serverCertificate": bool(settings.server_certificate or settings.private_key),
        "tlsCertificates": bool(settings.tls_certificates),
    }
    given = [name for name, present in sources.items() if present]
    if not given:
        faults.at("credentialName").add(f"is required with mode {settings.mode}", Fault.REQUIRED)
    for name in given[1:]:
        faults.at(name).add(f"cannot be combined with {given[0]}: certificates come from one place")
    if settings.credential_name:
        rules.dns_subdomain(settings.credential_name, faults.at("credentialName"))
    for index, name in enumerate(settings.credential_names):
        rules.dns_subdomain(name, faults.at("credentialNames").item(index))
    rules.named_once(list(settings.credential_names), faults.at("credentialNames"), "Secret")
    if sources["serverCertificate"]:
        _pair(settings.server_certificate, settings.private_key, faults)
    for index, item in enumerate(settings.tls_certificates):
        _pair(item.server_certificate, item.private_key, faults.at("tlsCertificates").item(index))


def _pair(certificate: str, key: str, faults: Faults) -> None:
    for name, path in (("serverCertificate", certificate), ("privateKey", key)):
        if faults.required(path, name):
            _file(path, faults.at(name))


def _file(path: str, faults: Faults) -> None:
    """A path on the machine of the gateway's proxy. `~` separates paths in the names of what is sent."""
    if not path.startswith("/") or "~" in path:
        faults.add(f"{path!r} is not an absolute path (without '~') on the gateway's machine")


def _client_authority(settings: ServerTLSSettings, faults: Faults) -> None:
    """Who vouches for clients: files, a Secret or ConfigMap, or what goes with the credential."""
    if settings.ca_certificates:
        _file(settings.ca_certificates, faults.at("caCertificates"))
        if settings.credentials:
            faults.at("caCertificates").add(
                "cannot be combined with Secrets: put them into one, or use caCertCredentialName"
            )
        if settings.ca_cert_credential_name:
            faults.at("caCertificates").add("cannot be combined with caCertCredentialName")
    elif not settings.credentials and not settings.ca_cert_credential_name:
        faults.at("caCertificates").add(f"is required with mode {settings.mode}", Fault.REQUIRED)
    if settings.ca_cert_credential_name:
        rules.dns_subdomain(settings.ca_cert_credential_name, faults.at("caCertCredentialName"))
    if settings.ca_crl:
        _file(settings.ca_crl, faults.at("caCrl"))
        if not settings.ca_certificates:
            faults.at("caCrl").add(
                "goes with caCertificates; for a credential put it into the Secret (ca.crl)"
            )


def _versions(settings: ServerTLSSettings, faults: Faults) -> None:
    for index, cipher in enumerate(settings.cipher_suites):
        if cipher not in _CIPHERS:
            faults.at("cipherSuites").item(index).add(
                f"{cipher!r} is not a cipher suite of TLS 1.2 that Envoy has",
                suggestion=nearest(cipher, _CIPHERS),
            )
    lowest, highest = settings.min_protocol_version, settings.max_protocol_version
    if lowest == "TLS_AUTO":
        lowest = _DEFAULT_MINIMUM
    if highest != "TLS_AUTO" and _VERSION_ORDER.index(lowest) > _VERSION_ORDER.index(highest):
        faults.at("minProtocolVersion").add(f"{lowest} is above maxProtocolVersion {highest}")
    old = _VERSION_ORDER.index(lowest) < _VERSION_ORDER.index(_DEFAULT_MINIMUM)
    if old and not any(_is_old(cipher) for cipher in settings.cipher_suites):
        faults.at("minProtocolVersion").add(
            f"{lowest} needs cipherSuites that it can use; Envoy's defaults have none (such as "
            "ECDHE-ECDSA-AES128-SHA)"
        )
    if lowest == "TLSV1_3" and settings.cipher_suites:
        faults.at("cipherSuites").add("has no effect with TLS 1.3 alone, whose cipher suites are fixed")


def _is_old(cipher: str) -> bool:
    """Can TLS 1.0 and 1.1 use it?"""
    return cipher.endswith("-SHA")


def _base64_digest(value: str, faults: Faults) -> None:
    try:
        size = len(base64.b64decode(value, validate=True))
    except ValueError:
        size = 0
    faults.require(size == 32, f"{value!r} is not a SHA-256 digest in base64")
