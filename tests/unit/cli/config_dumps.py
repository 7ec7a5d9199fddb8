"""Small answers of an Envoy's admin interface, in the form in which Envoy 1.40 gives them."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_ADMIN = "type.googleapis.com/envoy.admin.v3"
HOST = "reviews.default.svc.cluster.local"


def dump_of(**sections: Any) -> str:
    """A `/config_dump` with these sections, by name without `ConfigDump`."""
    return json.dumps(
        {
            "configs": [
                {"@type": f"{_ADMIN}.{name}ConfigDump", **content} for name, content in sections.items()
            ]
        }
    )


def address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def http_filter(**config: Any) -> dict[str, Any]:
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": config}


def tcp_filter(**config: Any) -> dict[str, Any]:
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": config}


def listener(name: str, port: int, *chains: dict[str, Any], direction: str = "OUTBOUND") -> dict[str, Any]:
    body = {
        "name": name,
        "address": address("0.0.0.0", port),  # noqa: S104 (as a captured workload's Envoy has it)
        "traffic_direction": direction,
        "filter_chains": list(chains),
    }
    return {"name": name, "active_state": {"listener": body}}


def host_status(ip: str, port: int, *, requests: int = 0, errors: int = 0, **health: Any) -> dict[str, Any]:
    stats = [{"name": "rq_total", "value": str(requests)}, {"name": "rq_error", "value": str(errors)}]
    return {
        "address": address(ip, port),
        "stats": stats,
        "health_status": {"eds_health_status": "HEALTHY", **health},
        "weight": 1,
    }


def self_signed(uri: str, now: datetime) -> tuple[str, str]:
    """A certificate and its key, both as base64 of PEM, as `inline_bytes` has them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(0xABC)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=5))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return base64.b64encode(pem).decode(), base64.b64encode(key_pem).decode()


def secrets_dump(uri: str) -> tuple[str, str]:
    """A dump with one certificate and its authority, and the key that it holds."""
    certificate, key = self_signed(uri, datetime.now(UTC))
    chain = {"certificate_chain": {"inline_bytes": certificate}, "private_key": {"inline_bytes": key}}
    text = dump_of(
        Secrets={
            "dynamic_active_secrets": [
                {"name": "default", "secret": {"name": "default", "tls_certificate": chain}},
            ],
            "dynamic_warming_secrets": [
                {
                    "name": "ROOTCA",
                    "secret": {"validation_context": {"trusted_ca": {"inline_bytes": certificate}}},
                }
            ],
        }
    )
    return text, key
