"""Leaving the mesh through a gateway, as Istio's tasks "Egress Gateways" and "Egress Gateways with TLS
Origination" do it: a sidecar, the gateway, a server outside; for HTTP, TLS, and TLS begun at the gateway."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from ads_mesh import ads_envoy
from aiohttp import web
from edge_certificates import Authority, Pair
from edge_mesh import Edge, Refused, ask, edge, eventually, tls_secret, trusting
from static_mesh import free_port

from marline.mesh.model import Capture, Proxy, Role, Upstream, Workload

HOST = "edition.example"
CALLER = "spiffe://cluster.local/ns/default/sa/curl"
OUTSIDE = """
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: edition}
spec:
  hosts: [edition.example]
  ports:
  - {number: 80, name: http-port, protocol: HTTP}
  - {number: 443, name: https, protocol: HTTPS}
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http-port: %d, https: %d}}]
"""
GATEWAY_SERVICE = """
---
apiVersion: v1
kind: Service
metadata: {name: istio-egressgateway, namespace: istio-system}
spec:
  clusterIP: 10.96.0.77
  selector: {istio: egressgateway}
  ports: [{name: http2, port: 80}, {name: https, port: 443}]
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: istio-egressgateway-1, namespace: istio-system}
spec:
  address: 127.0.0.1
  serviceAccount: ingress
  labels: {istio: egressgateway}
  ports: {http2: %d, https: %d}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: egressgateway-for-edition}
spec: {host: istio-egressgateway.istio-system.svc.cluster.local, subsets: [{name: edition%s}]}
"""
GATEWAY = """
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: istio-egressgateway}
spec:
  selector: {istio: egressgateway}
  servers:
  - {port: {number: %d, name: port, protocol: %s}, hosts: [edition.example]%s}
"""
ROUTES = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: direct-edition-through-egress-gateway}
spec:
  hosts: [edition.example]
  gateways: [istio-egressgateway, mesh]
  http:
  - match: [{gateways: [mesh], port: 80}]
    route:
    - destination:
        host: istio-egressgateway.istio-system.svc.cluster.local
        subset: edition
        port: {number: 80}
      weight: 100
  - match: [{gateways: [istio-egressgateway], port: 80}]
    route: [{destination: {host: edition.example, port: {number: %d}}, weight: 100}]
"""
TLS_ROUTES = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: direct-edition-through-egress-gateway}
spec:
  hosts: [edition.example]
  gateways: [mesh, istio-egressgateway]
  tls:
  - match: [{gateways: [mesh], port: 443, sniHosts: [edition.example]}]
    route:
    - destination:
        host: istio-egressgateway.istio-system.svc.cluster.local
        subset: edition
        port: {number: 443}
  - match: [{gateways: [istio-egressgateway], port: 443, sniHosts: [edition.example]}]
    route: [{destination: {host: edition.example, port: {number: 443}}}]
"""
ISTIO_MUTUAL = (
    ", trafficPolicy: {portLevelSettings: [{port: {number: 80},"
    " tls: {mode: ISTIO_MUTUAL, sni: edition.example}}]}"
)


@dataclass
class Outside:
    """A server that is not of the mesh: what it serves without TLS, and with."""

    authority: Authority
    plain: int
    secure: int


@asynccontextmanager
async def outside(clients: Authority | None = None) -> AsyncIterator[Outside]:
    """It says how it was called, and demands certificates of `clients` if these are given."""

    async def answer(request: web.Request) -> web.Response:
        secure = request.transport is not None and request.transport.get_extra_info("ssl_object")
        certificate = secure.getpeercert() if secure else None
        headers = {name.lower(): value for name, value in request.headers.items()}
        names = [value for _, value in certificate.get("subjectAltName", ())] if certificate else []
        return web.json_response(
            {"backend": "secure" if secure else "plain", "headers": headers, "client": names}
        )

    authority = Authority("outside")
    context = serving(authority.issue(HOST), clients)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield Outside(authority, runner.addresses[0][1], runner.addresses[1][1])
    finally:
        await runner.cleanup()


def serving(pair: Pair, clients: Authority | None) -> ssl.SSLContext:
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    pair.load_into(made)
    if clients is not None:
        made.load_verify_locations(cadata=clients.pem.decode())
        made.verify_mode = ssl.CERT_REQUIRED
    return made


@dataclass
class Caller:
    """A workload with a sidecar that has a listener for each of the outside's ports."""

    gateway: Edge
    plain: int
    secure: int
    http_proxy: int

    async def get(self) -> tuple[int, str, dict[str, str]]:
        """What a request without TLS becomes: status, which port answered, what it was told."""
        answer = await ask(self.plain, HOST)
        return answer.status, answer.backend, dict(answer.body.get("headers", {}))

    async def passes_gateway(self) -> int:
        """How many connections the gateway has had."""
        counted = await self.gateway.envoy.stats("^listener\\.127.*\\.downstream_cx_total")
        return sum(value for name, value in counted.items() if "worker" not in name)


@asynccontextmanager
async def leaving(resources: str, server: Outside, subset: str = "") -> AsyncIterator[Caller]:
    text = OUTSIDE % (server.plain, server.secure) + resources
    async with edge(text, 80, 443, istio="egressgateway") as made:
        await made.put(GATEWAY_SERVICE % (made[80], made[443], subset))
        plain, secure, http_proxy = free_port(), free_port(), free_port()
        workload = Workload(
            "default",
            "curl-1",
            "curl",
            upstreams=(Upstream(HOST, 80, plain), Upstream(HOST, 443, secure)),
            http_proxy_port=http_proxy,
        )
        proxy = Proxy("sidecar~curl", Role.SIDECAR, Capture.EXPLICIT, (workload,))
        async with ads_envoy(made.plane.directory, proxy, CALLER, made.authority):
            yield Caller(made, plain, secure, http_proxy)


@pytest.mark.proves("networking.GatewaySpec.selector")
async def test_requests_leave_through_the_gateway_that_a_virtual_service_sends_them_to() -> None:
    async with outside() as server, leaving(GATEWAY % (80, "HTTP", "") + ROUTES % 80, server) as caller:
        status, answered, headers = await caller.get()
        assert (status, answered) == (200, "plain")
        assert headers["host"] == HOST
        assert await caller.passes_gateway() == 1


@pytest.mark.proves("networking.ServerTLSSettings.mode")
async def test_tls_leaves_through_the_gateway_unread() -> None:
    passing = GATEWAY % (443, "TLS", ", tls: {mode: PASSTHROUGH}") + TLS_ROUTES
    async with outside() as server, leaving(passing, server) as caller:
        answer = await ask(caller.secure, HOST, trusting(server.authority.pem))
        assert (answer.backend, "x-request-id" in answer.body["headers"]) == ("secure", False)
        assert await caller.passes_gateway() == 1
        with pytest.raises(Refused):
            await ask(caller.gateway[443], "other.example", trusting(server.authority.pem))


async def test_a_tunnel_through_the_sidecars_http_proxy_leaves_the_same_way() -> None:
    passing = GATEWAY % (443, "TLS", ", tls: {mode: PASSTHROUGH}") + TLS_ROUTES
    async with (
        outside() as server,
        leaving(passing, server) as caller,
        aiohttp.ClientSession() as session,
        session.get(
            f"https://{HOST}/",
            proxy=f"http://127.0.0.1:{caller.http_proxy}",
            ssl=trusting(server.authority.pem),
        ) as response,
    ):
        assert (await response.json())["backend"] == "secure"
        assert await caller.passes_gateway() == 1


ORIGINATE = """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: originate-tls-for-edition, namespace: istio-system}
spec:
  host: edition.example
  trafficPolicy: {portLevelSettings: [{port: {number: 443}, tls: {%s}}]}
"""


@pytest.mark.proves("networking.ServerTLSSettings.mode")
async def test_the_gateway_begins_tls_and_is_reached_with_mtls_on_the_way(tmp_path: Path) -> None:
    async with outside() as server:
        (tmp_path / "ca.pem").write_bytes(server.authority.pem)
        begin = ORIGINATE % f"mode: SIMPLE, caCertificates: {tmp_path / 'ca.pem'}"
        mutual = GATEWAY % (80, "HTTPS", ", tls: {mode: ISTIO_MUTUAL}") + ROUTES % 443 + begin
        async with leaving(mutual, server, ISTIO_MUTUAL) as caller:
            status, answered, headers = await caller.get()
            assert (status, answered) == (200, "secure")
            assert f"URI={CALLER}" in headers["x-forwarded-client-cert"]
            with pytest.raises(Refused):
                await ask(caller.gateway[80], HOST)


async def test_the_gateway_may_show_a_certificate_from_a_secret_where_it_begins_tls() -> None:
    clients = Authority("clients")
    async with outside(clients) as server:
        credential = tls_secret("edition-client", clients.issue("mesh.example"), ca_crt=server.authority.pem)
        begin = ORIGINATE % "mode: MUTUAL, credentialName: edition-client"
        async with leaving(GATEWAY % (80, "HTTP", "") + ROUTES % 443 + begin + credential, server) as caller:

            async def answered() -> tuple[int, list[str]]:
                answer = await ask(caller.plain, HOST)
                return answer.status, answer.body.get("client", [])

            await eventually(answered, (200, ["mesh.example"]))
