"""`marline proxy-config secret`: the certificates and authorities that a proxy has. Never a key."""

import base64
from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec
from cryptography import x509

from marline.cli.envoy_dump import Object
from marline.cli.output import Column, bad, good
from marline.store.spans import human_duration


class SecretRow(msgspec.Struct, frozen=True, rename="camel"):
    """One certificate of a secret: the leaf of a chain, or one authority of several."""

    name: str
    type: str
    """`Cert Chain` or `CA`, as istioctl calls them."""
    state: str
    names: str
    """Whom it is for: the names in it."""
    serial: str
    not_before: datetime
    not_after: datetime


def secret_rows(secrets: Iterable[Object]) -> Iterator[SecretRow]:
    """Each secret's certificates. What is no certificate is left out."""
    for item in secrets:
        secret = item["secret"]
        chain = secret.get("tls_certificate", {}).get("certificate_chain", {})
        for certificate in _certificates(chain)[:1]:
            yield _row(item, "Cert Chain", certificate)
        for certificate in _certificates(_trusted(secret.get("validation_context", {}))):
            yield _row(item, "CA", certificate)


def _trusted(context: Object) -> Object:
    found: Object = context.get("trusted_ca", {})
    return found


def _certificates(source: Object) -> list[x509.Certificate]:
    """From a `DataSource` that has them inline; a file is Envoy's business."""
    if "inline_bytes" in source:
        pem = base64.b64decode(source["inline_bytes"])
    elif "inline_string" in source:
        pem = str(source["inline_string"]).encode()
    else:
        return []
    try:
        return x509.load_pem_x509_certificates(pem)
    except (ValueError, x509.InvalidVersion):  # redacted, or not PEM
        return []


def _row(item: Object, kind: str, certificate: x509.Certificate) -> SecretRow:
    return SecretRow(
        name=str(item["name"] or item["secret"].get("name", "")),
        type=kind,
        state=str(item["state"]),
        names=", ".join(_names(certificate)),
        serial=f"{certificate.serial_number:x}",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [certificate.subject.rfc4514_string()]
    return [
        *found.get_values_for_type(x509.UniformResourceIdentifier),
        *found.get_values_for_type(x509.DNSName),
        *(str(address) for address in found.get_values_for_type(x509.IPAddress)),
    ]


def secret_columns(now: datetime) -> tuple[Column[SecretRow], ...]:
    """`now` tells what is still valid."""

    def valid(row: SecretRow) -> str:
        if row.not_before <= now < row.not_after:
            return good(f"for {human_duration((row.not_after - now).total_seconds())}")
        return bad("no")

    return (
        Column("NAME", lambda row: row.name),
        Column("TYPE", lambda row: row.type),
        Column("STATE", lambda row: row.state),
        Column("VALID", valid),
        Column("NOT AFTER", lambda row: f"{row.not_after:%Y-%m-%dT%H:%M:%SZ}"),
        Column("FOR", lambda row: row.names),
        Column("SERIAL", lambda row: row.serial, wide=True),
        Column("NOT BEFORE", lambda row: f"{row.not_before:%Y-%m-%dT%H:%M:%SZ}", wide=True),
    )
