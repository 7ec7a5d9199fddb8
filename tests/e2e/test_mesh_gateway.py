"""A gateway at the edge of a running mesh: certificates from Secrets, routes of both APIs."""

import base64
import datetime
import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from running_mesh import Mesh, eventually, free_port, running_mesh

APPLICATION = """
services:
  echo:
    ports: [http:9080]
    command: "{python} {apps}/echo.py"
    versions:
      v1: {environment: {VERSION: v1}}
      v2: {environment: {VERSION: v2}}
gateways:
  ingressgateway:
    ports: [{port: 80, listen: %d}, {port: 443, listen: %d}]
"""
GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: [shop.test],
     tls: {mode: %s, credentialName: shop}}
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.test], tls: {httpsRedirect: true}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge}
spec:
  hosts: [shop.test]
  gateways: [edge]
  http: [{route: [{destination: {host: echo}}]}]
"""
ROUTES = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: api}
spec:
  gatewayClassName: istio
  listeners: [{name: web, port: 80, protocol: HTTP, hostname: "*.api.test"}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: echo}
spec:
  parentRefs: [{name: api}]
  hostnames: [one.api.test]
  rules:
  - matches: [{path: {type: PathPrefix, value: /old}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}]
    backendRefs: [{name: echo, port: 9080}]
  - matches: [{path: {type: PathPrefix, value: /gone}}]
    backendRefs: [{name: nothing, port: 80}]
"""


class Edge:
    """The gateway's two ports, as a client sees them."""

    def __init__(self, mesh: Mesh, plain: int, tls: int) -> None:
        self.mesh, self.plain, self.tls = mesh, plain, tls

    def get(self, path: str, host: str, trust: ssl.SSLContext | None = None) -> tuple[int, dict[str, Any]]:
        connection: http.client.HTTPConnection = http.client.HTTPConnection(
            "127.0.0.1", self.plain, timeout=10
        )
        if trust is not None:
            connection = _Named(self.tls, host, trust)
        try:
            connection.request("GET", path, headers={"Host": host})
            response = connection.getresponse()
            text = response.read().decode()
            said = json.loads(text) if text.startswith("{") else {"text": text}
            return response.status, {**said, "location": response.getheader("location")}
        finally:
            connection.close()


class _Named(http.client.HTTPSConnection):
    """A connection to 127.0.0.1 that asks for another host."""

    def __init__(self, port: int, host: str, context: ssl.SSLContext) -> None:
        super().__init__("127.0.0.1", port, timeout=10, context=context)
        self._wanted, self._tls = host, context

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._wanted)


class Authority:
    """A certificate authority of the outside world."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._signed("authority", self.key, ca=True)

    def pair(self, name: str) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        certificate = self._signed(name, key, ca=False).public_bytes(serialization.Encoding.PEM)
        return certificate, key.private_bytes(serialization.Encoding.PEM, *pem)

    def _signed(self, name: str, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)

        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

        return (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named("authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def trusted(self, pair: tuple[bytes, bytes] | None = None, folder: Path | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.pem)
        if pair is not None and folder is not None:
            (folder / "client.pem").write_bytes(pair[0] + pair[1])
            context.load_cert_chain(folder / "client.pem")
        return context


def secret(name: str, **data: bytes) -> str:
    values = ", ".join(
        f"{key.replace('_', '.')}: {base64.b64encode(value).decode()}" for key, value in data.items()
    )
    head = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: istio-system}}\n"
    return f"{head}data: {{{values}}}\n"


def tls_secret(pair: tuple[bytes, bytes]) -> str:
    return secret("shop", tls_crt=pair[0], tls_key=pair[1]) + "type: kubernetes.io/tls\n"


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    plain, tls = free_port(), free_port()
    with running_mesh("explicit", APPLICATION % (plain, tls)) as mesh:
        yield Edge(mesh, plain, tls)


def serve_https(edge: Edge, authority: Authority, mode: str = "SIMPLE") -> None:
    edge.mesh.apply(tls_secret(authority.pair("shop.test")))
    edge.mesh.apply(GATEWAY % mode)


def test_https_with_a_certificate_from_a_secret(edge: Edge) -> None:
    authority = Authority()
    serve_https(edge, authority)
    status, said = eventually(lambda: _tried(edge, "/cart", authority.trusted()), "the gateway serves")
    assert (status, said["path"]) == (200, "/cart")
    assert edge.get("/cart", "shop.test")[1]["location"] == "https://shop.test/cart"


def test_a_renewed_certificate_is_used_without_a_restart(edge: Edge) -> None:
    authority, successor = Authority(), Authority()
    serve_https(edge, authority)
    eventually(lambda: _tried(edge, "/", authority.trusted()), "the first certificate is shown")
    edge.mesh.apply(tls_secret(successor.pair("shop.test")))
    eventually(lambda: _tried(edge, "/", successor.trusted()), "the new certificate is shown")


def test_mutual_tls_refuses_clients_without_a_certificate(edge: Edge, tmp_path: Path) -> None:
    authority, clients = Authority(), Authority()
    edge.mesh.apply(secret("shop-cacert", ca_crt=clients.pem.encode()))
    serve_https(edge, authority, "MUTUAL")
    known = authority.trusted(clients.pair("client"), tmp_path)
    eventually(lambda: _tried(edge, "/", known), "a client with a certificate is served")
    stranger = authority.trusted(Authority().pair("client"), tmp_path)
    for refused in (authority.trusted(), stranger):
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
            edge.get("/", "shop.test", refused)


CORS = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge}
spec:
  hosts: [shop.test, "*.api.test"]
  gateways: [edge, plain]
  http:
  - route: [{destination: {host: echo}}]
    corsPolicy: {allowOrigins: [{exact: https://friend.test}], allowMethods: [GET]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: plain}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: plain, protocol: HTTP}, hosts: [zero.api.test]}]
"""


def test_cross_origin_policy_is_for_the_routes_that_say_so(edge: Edge) -> None:
    edge.mesh.apply(CORS)

    def allowed(origin: str) -> str | None:
        connection = http.client.HTTPConnection("127.0.0.1", edge.plain, timeout=10)
        connection.request("GET", "/", headers={"Host": "zero.api.test", "Origin": origin})
        response = connection.getresponse()
        return response.getheader("access-control-allow-origin") if response.status == 200 else None

    found = eventually(lambda: allowed("https://friend.test"), "the policy is in force")
    assert found == "https://friend.test"
    assert allowed("https://stranger.test") is None


def test_an_http_route_serves_and_says_so_in_its_status(edge: Edge) -> None:
    edge.mesh.apply(ROUTES)
    status, said = eventually(lambda: _answered(edge, "/old/x", "one.api.test"), "the route serves")
    assert (status, said["path"]) == (200, "/new/x")
    assert edge.get("/gone", "one.api.test")[0] == 500
    assert edge.get("/old", "two.api.test")[0] == 404

    def told() -> dict[str, str]:
        found = json.loads(edge.mesh.marline("get", "httproute", "echo", "-o", "json"))
        parents = found.get("status", {}).get("parents", [])
        return {item["type"]: item["reason"] for parent in parents for item in parent["conditions"]}

    assert eventually(told, "the route has a status") == {
        "Accepted": "Accepted",
        "ResolvedRefs": "BackendNotFound",
    }
    gateway = json.loads(edge.mesh.marline("get", "gateways.gateway.networking.k8s.io", "api", "-o", "json"))
    assert gateway["status"]["listeners"][0]["attachedRoutes"] == 1
    assert gateway["status"]["addresses"] == [{"type": "IPAddress", "value": "127.0.0.1"}]


def _tried(edge: Edge, path: str, trust: ssl.SSLContext) -> tuple[int, dict[str, Any]] | None:
    """An answer over TLS, if there is one."""
    try:
        return edge.get(path, "shop.test", trust)
    except (OSError, http.client.HTTPException):
        return None


def _answered(edge: Edge, path: str, host: str) -> tuple[int, dict[str, Any]] | None:
    try:
        answer = edge.get(path, host)
    except OSError:
        return None
    return answer if answer[0] != 404 else None
