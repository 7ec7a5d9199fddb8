"""Which certificates Marline makes, field by field (X509-SVID specification, sections 2 to 4; RFC 5280)."""

import datetime
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from marline.identity.spiffe import SpiffeId, trust_domain_id

CLOCK_SKEW_SECONDS: Final = 120
"""Certificates are valid from so long ago, for peers whose clocks are late. Istio's number."""

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class Validity:
    """From when to when, in Unix seconds."""

    not_before: float
    not_after: float


def moment(seconds: float) -> datetime.datetime:
    """Unix seconds as X.509 knows them, without fractions."""
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)


def root_certificate(key: SigningKey, trust_domain: str, validity: Validity) -> x509.Certificate:
    """Self-signed. Below it stands one intermediate, which signs workloads."""
    name = _authority_name("root", trust_domain)
    builder = _authority_builder(name, name, key.public_key(), key.public_key(), trust_domain, validity, 1)
    return builder.sign(key, _digest(key))


def intermediate_certificate(
    public_key: PublicKey,
    root: x509.Certificate,
    root_key: SigningKey,
    trust_domain: str,
    validity: Validity,
) -> x509.Certificate:
    """Signs workloads only (path length 0)."""
    name = _authority_name("workload", trust_domain)
    issuer_key = root_key.public_key()
    builder = _authority_builder(name, root.subject, public_key, issuer_key, trust_domain, validity, 0)
    return builder.sign(root_key, _digest(root_key))


def workload_certificate(
    public_key: PublicKey,
    spiffe_id: SpiffeId,
    issuer: x509.Certificate,
    issuer_key: SigningKey,
    validity: Validity,
) -> x509.Certificate:
    """An X.509-SVID: the SPIFFE ID is the only name, so the subject is empty and the alternative name
    critical (RFC 5280, section 4.2.1.6)."""
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(spiffe_id))])
    return (
        _builder(x509.Name([]), issuer.subject, public_key, validity)
        .add_extension(names, critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(_issuer_identifier(issuer, issuer_key), critical=False)
        .sign(issuer_key, _digest(issuer_key))
    )


def _authority_name(what: str, trust_domain: str) -> x509.Name:
    # X.520 allows 64 characters in a name's part; the whole trust domain is in the alternative name.
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, trust_domain[:64])
    return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, f"Marline {what} authority")])


def _authority_builder(
    name: x509.Name,
    issuer: x509.Name,
    public_key: PublicKey,
    issuer_key: PublicKey,
    trust_domain: str,
    validity: Validity,
    path_length: int,
) -> x509.CertificateBuilder:
    uri = x509.UniformResourceIdentifier(str(trust_domain_id(trust_domain)))
    return (
        _builder(name, issuer, public_key, validity)
        .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _builder(
    name: x509.Name, issuer: x509.Name, public_key: PublicKey, validity: Validity
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment(validity.not_before))
        .not_valid_after(moment(validity.not_after))
    )


def _issuer_identifier(issuer: x509.Certificate, key: SigningKey) -> x509.AuthorityKeyIdentifier:
    """Which key signed. An authority made elsewhere may have chosen its identifier in its own way."""
    try:
        stated = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(stated.value)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _digest(key: SigningKey) -> hashes.SHA256 | hashes.SHA384:
    """As strong as the key, as Envoy's TLS library expects."""
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size > 256:
        return hashes.SHA384()
    return hashes.SHA256()
