"""Certificates at the edge: what is usable, who gets it, and what a broken one does."""

import base64
import datetime
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from routing_mesh import gateway_built, ingress, mesh

from marline.api.core import SecretBody
from marline.api.resource import ObjectMeta, Resource
from marline.compile.gateway_tls import ca_fault, certificate_fault

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@cache
def pair(kind: str) -> tuple[bytes, bytes]:
    """A self-signed certificate and its key, PEM."""
    keys: dict[str, Any] = {
        "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
        "other": lambda: ec.generate_private_key(ec.SECP256R1()),
        "short": lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505 (to be refused)
        "ed": ed25519.Ed25519PrivateKey.generate,
    }
    key: PrivateKey = keys[kind]()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, kind)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(hours=1))
    certificate = builder.sign(key, None if kind == "ed" else hashes.SHA256())
    encoding = serialization.Encoding.PEM
    return certificate.public_bytes(encoding), key.private_bytes(
        encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def secret(**data: bytes) -> Resource[SecretBody]:
    values = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()}
    return Resource("", "v1", "Secret", ObjectMeta(name="it", namespace="edge"), SecretBody(data=values))


def test_a_matching_certificate_and_key_are_usable_under_either_name() -> None:
    certificate, key = pair("ec")
    assert certificate_fault(secret(tls_crt=certificate, tls_key=key)) == ""
    assert certificate_fault(secret(cert=certificate, key=key)) == ""


@pytest.mark.parametrize(
    ("certificate", "key", "reason"),
    [
        (b"", b"", "has no 'tls.crt'"),
        (b"nonsense", pair("ec")[1], "no readable PEM"),
        (pair("ec")[0], b"nonsense", "no readable PEM"),
        (pair("ec")[0], pair("other")[1], "does not belong"),
        (*pair("short"), "1024 bits"),
        (*pair("ed"), "neither RSA nor ECDSA"),
    ],
)
def test_what_envoy_would_refuse_is_found_before_it_is_sent(
    certificate: bytes, key: bytes, reason: str
) -> None:
    assert reason in certificate_fault(secret(tls_crt=certificate, tls_key=key))


def test_a_fault_never_shows_the_key() -> None:
    certificate, key = pair("ec")
    body = key.decode().splitlines()[1]
    assert body not in certificate_fault(secret(tls_crt=certificate[:-40], tls_key=key))


def test_ca_certificates_must_be_readable() -> None:
    assert ca_fault(secret(ca_crt=pair("ec")[0])) == ""
    assert "no 'ca.crt'" in ca_fault(secret())
    assert "no readable" in ca_fault(secret(ca_crt=b"nonsense"))


def test_a_certificate_of_an_unknown_version_is_a_fault_and_no_crash() -> None:
    certificate, key = pair("ec")
    der = bytearray(x509.load_pem_x509_certificate(certificate).public_bytes(serialization.Encoding.DER))
    der[der.index(b"\xa0\x03\x02\x01\x02") + 4] = 13
    damaged = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"
    assert "no readable PEM certificate" in certificate_fault(secret(tls_crt=damaged, tls_key=key))
    assert "no readable PEM CA" in ca_fault(secret(ca_crt=damaged))


def secret_yaml(name: str, namespace: str = "istio-system", **data: bytes) -> str:
    lines = "".join(
        f"  {key.replace('_', '.')}: {base64.b64encode(value).decode()}\n" for key, value in data.items()
    )
    metadata = f"{{name: {name}, namespace: {namespace}}}"
    return f"---\napiVersion: v1\nkind: Secret\nmetadata: {metadata}\ndata:\n{lines}"


def config_map_yaml(name: str, namespace: str, authority: bytes) -> str:
    """A ConfigMap with a CA certificate."""
    lines = "".join(f"    {line}\n" for line in authority.decode().splitlines())
    metadata = f"{{name: {name}, namespace: {namespace}}}"
    return f"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {metadata}\ndata:\n  ca.crt: |\n{lines}"


def gateway(tls: str) -> str:
    return f"""
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - {{port: {{number: 443, name: https, protocol: HTTPS}}, hosts: [a.example], tls: {tls}}}
"""


def resources(text: str) -> dict[str, Any]:
    return gateway_built(mesh(text), ingress())


def test_only_the_secrets_that_servers_refer_to_are_sent() -> None:
    certificate, key = pair("ec")
    text = (
        secret_yaml("site", tls_crt=certificate, tls_key=key)
        + secret_yaml("unused", tls_crt=certificate, tls_key=key)
        + gateway("{mode: SIMPLE, credentialName: site}")
    )
    made = resources(text)
    assert set(made) == {
        "127.0.0.1_8443", "https.443.https.edge.default", "kubernetes://istio-system/site",
    }  # fmt: skip
    sent = made["kubernetes://istio-system/site"].tls_certificate
    assert (sent.certificate_chain.inline_bytes, sent.private_key.inline_bytes) == (certificate, key)


@pytest.mark.parametrize("separate", [True, False])
def test_the_ca_for_clients_is_in_a_secret_of_its_own_or_in_the_same(separate: bool) -> None:
    certificate, key = pair("ec")
    text = gateway("{mode: MUTUAL, credentialName: site}")
    if separate:
        text += secret_yaml("site", tls_crt=certificate, tls_key=key)
        text += secret_yaml("site-cacert", ca_crt=certificate)
    else:
        text += secret_yaml("site", tls_crt=certificate, tls_key=key, ca_crt=certificate)
    made = resources(text)
    sent = made["kubernetes://istio-system/site-cacert"].validation_context
    assert sent.trusted_ca.inline_bytes == certificate


def test_without_a_ca_a_mutual_server_refuses_everybody() -> None:
    certificate, key = pair("ec")
    text = gateway("{mode: MUTUAL, credentialName: site}")
    made = resources(text + secret_yaml("site", tls_crt=certificate, tls_key=key))
    assert not made["127.0.0.1_8443"].filter_chains[0].HasField("transport_socket")
    assert not any(name.startswith("kubernetes://") for name in made)


def test_a_new_certificate_leaves_the_listener_as_it_is() -> None:
    text = gateway("{mode: SIMPLE, credentialName: site}")
    before, after = (
        resources(text + secret_yaml("site", tls_crt=made[0], tls_key=made[1]))
        for made in (pair("ec"), pair("other"))
    )
    assert before["127.0.0.1_8443"] == after["127.0.0.1_8443"]
    name = "kubernetes://istio-system/site"
    assert before[name] != after[name]
