"""What an engineer would write by hand: the configurations of static Envoys, with the certificates for them.

The pair with metrics has what a sidecar pair of Marline has in everyday use, and nothing else: mutual TLS
with an expected SPIFFE ID, the caller's identity in `x-forwarded-client-cert`, and for each request one
counter and one histogram of Envoy's stats access logger with the ten labels of Istio's standard metrics.
"""

import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_TYPE = "type.googleapis.com/envoy.extensions."
_SPIFFE_ID = "spiffe://cluster.local/ns/default/sa/default"


def certificates(folder: Path) -> dict[str, Path]:
    """A root, and a leaf certificate with a SPIFFE ID that both sides use; valid for a day."""
    root_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate("root", root_key)
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    leaf = _certificate("leaf", leaf_key).add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(_SPIFFE_ID)])
    leaf = leaf.add_extension(names, critical=True)
    pem = serialization.Encoding.PEM
    written = {
        "root": root.sign(root_key, hashes.SHA256()).public_bytes(pem),
        "chain": leaf.sign(root_key, hashes.SHA256()).public_bytes(pem),
        "key": leaf_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    }
    for stem, content in written.items():
        (folder / f"{stem}.pem").write_bytes(content)
    return {stem: folder / f"{stem}.pem" for stem in written}


def _certificate(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    return (
        x509.CertificateBuilder()
        .subject_name(named(subject))
        .issuer_name(named("root"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )


def backend(port: int) -> dict[str, Any]:
    """The application: an Envoy that answers by itself, so that it costs little."""
    answer = {"status": 200, "body": {"inline_string": "hello, this is the application\n"}}
    manager = _http({"match": {"prefix": "/"}, "direct_response": answer})
    return {"static_resources": {"listeners": [_listener(port, manager)]}}


def one_hop(port: int, to: int) -> dict[str, Any]:
    """A proxy in plain text, without metrics."""
    return _proxy(_listener(port, _http(_route())), _cluster(to))


def client_side(port: int, to: int, certs: dict[str, Path], *, metrics: bool) -> dict[str, Any]:
    """The caller's side of a pair."""
    tls = _tls(certs)
    san = {"san_type": "URI", "matcher": {"exact": _SPIFFE_ID}}
    tls["validation_context"]["match_typed_subject_alt_names"] = [san]
    context = {"@type": _TYPE + "transport_sockets.tls.v3.UpstreamTlsContext", "common_tls_context": tls}
    cluster = _cluster(to) | {"transport_socket": {"name": "tls", "typed_config": context}}
    return _proxy(_listener(port, _http(_route(), _metrics(_SOURCE) if metrics else None)), cluster)


def server_side(port: int, to: int, certs: dict[str, Path], *, metrics: bool) -> dict[str, Any]:
    """The application's side of a pair."""
    context = {
        "@type": _TYPE + "transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": _tls(certs),
    }
    manager = _http(_route(), _metrics(_DESTINATION) if metrics else None)
    manager["typed_config"] |= {
        "forward_client_cert_details": "APPEND_FORWARD",
        "set_current_client_cert_details": {"subject": True, "uri": True, "dns": True},
    }
    listener = _listener(port, manager)
    listener["filter_chains"][0]["transport_socket"] = {"name": "tls", "typed_config": context}
    return _proxy(listener, _cluster(to))


_SOURCE = {
    "reporter": "source",
    "source_workload": "load",
    "source_principal": _SPIFFE_ID,
    "destination_workload": "%METADATA(UPSTREAM_HOST:mesh:workload)%",
    "destination_principal": "%UPSTREAM_PEER_URI_SAN%",
    "connection_security_policy": "unknown",
}
_DESTINATION = {
    "reporter": "destination",
    "source_workload": "unknown",
    "source_principal": "%DOWNSTREAM_PEER_URI_SAN%",
    "destination_workload": "echo",
    "destination_principal": _SPIFFE_ID,
    "connection_security_policy": "mutual_tls",
}


def _metrics(labels: dict[str, str]) -> dict[str, Any]:
    """`istio_requests_total` and `istio_request_duration_milliseconds`."""
    every = labels | {
        "destination_service": "%METADATA(CLUSTER:mesh:service)%",
        "response_code": "%RESPONSE_CODE%",
        "response_flags": "%RESPONSE_FLAGS%",
        "request_protocol": "%PROTOCOL%",
    }
    tags = [{"name": name, "value_format": value} for name, value in every.items()]
    duration = {"name": "request_duration_milliseconds", "tags": tags}
    return {
        "name": "stats",
        "typed_config": {
            "@type": _TYPE + "access_loggers.stats.v3.Config",
            "stat_prefix": "istio",
            "counters": [{"stat": {"name": "requests_total", "tags": tags}, "value_fixed": 1}],
            "histograms": [{"stat": duration, "unit": "Milliseconds", "value_format": "%DURATION%"}],
        },
    }


def _proxy(listener: dict[str, Any], cluster: dict[str, Any]) -> dict[str, Any]:
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _tls(certs: dict[str, Path]) -> dict[str, Any]:
    pair = {
        "certificate_chain": {"filename": str(certs["chain"])},
        "private_key": {"filename": str(certs["key"])},
    }
    return {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [pair],
        "validation_context": {"trusted_ca": {"filename": str(certs["root"])}},
    }


def _route() -> dict[str, Any]:
    return {"match": {"prefix": "/"}, "route": {"cluster": "next"}}


def _cluster(port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoint = {
        "endpoint": {"address": address},
        "metadata": {"filter_metadata": {"mesh": {"workload": "echo"}}},
    }
    return {
        "name": "next",
        "type": "STATIC",
        "metadata": {"filter_metadata": {"mesh": {"service": "echo.default.svc.cluster.local"}}},
        "load_assignment": {"cluster_name": "next", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _http(route: dict[str, Any], metrics: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "name": "http",
        "typed_config": {
            "@type": _TYPE + "filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "http",
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
            "http_filters": [
                {"name": "router", "typed_config": {"@type": _TYPE + "filters.http.router.v3.Router"}}
            ],
            "access_log": [metrics] if metrics else [],
        },
    }


def _listener(port: int, network_filter: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": f"listener_{port}",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [network_filter]}],
    }
