"""A Sidecar says how a workload is reached: its ports, where the application is, TLS, limits."""

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from routing_envoy import Backend, RunningEnvoy, backend
from static_mesh import envoy_for, free_port, snapshot_of
from tls_servers import WebAuthority

from marline.mesh.model import Capture, InboundPort, Protocol, Proxy, Role, Workload

RESOURCES = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: all, namespace: default}
spec: {mtls: {mode: %s}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: app, namespace: default}
spec: {workloadSelector: {labels: {app: app}}, %s}
"""


@dataclass
class Served:
    """A workload behind its sidecar: its one port, and the proxy."""

    envoy: RunningEnvoy
    app: Backend
    url: str

    async def get(self, url: str = "", context: ssl.SSLContext | None = None) -> int:
        """The status; 0 if the connection is refused."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(url or self.url, ssl=context or False) as response,
            ):
                return response.status
        except aiohttp.ClientError:
            return 0


@asynccontextmanager
async def served(spec: str, mode: str = "DISABLE", delay: float = 0.0) -> AsyncIterator[Served]:
    """`$APP` in the spec is the application's port, `$FREE` one that is free."""
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(backend("app"))
        app.delay = delay
        listen = free_port()
        spec = spec.replace("$APP", str(app.port)).replace("$FREE", str(free_port()))
        port = InboundPort("http", listen, "127.0.0.1", app.port, Protocol.HTTP)
        workload = Workload("default", "app-1", "app", labels=(("app", "app"),), inbound=(port,))
        proxy = Proxy("server", Role.SIDECAR, Capture.EXPLICIT, (workload,))
        snapshot = snapshot_of(RESOURCES % (mode, spec))
        envoy = await stack.enter_async_context(envoy_for(snapshot, proxy))
        yield Served(envoy, app, f"http://127.0.0.1:{listen}/")


@pytest.mark.proves("networking.SidecarSpec.ingress", "networking.SidecarSpec.workloadSelector")
async def test_a_port_that_is_no_ingress_listener_is_not_served() -> None:
    spec = "ingress: [{port: {number: $FREE, protocol: HTTP}, defaultEndpoint: 127.0.0.1:$APP}]"
    async with served(spec) as mesh:
        assert await mesh.get() == 0
    async with served(spec.replace("app: app", "app: other")) as mesh:
        assert await mesh.get() == 0


@pytest.mark.proves(
    "networking.IstioIngressListener.port",
    "networking.IstioIngressListener.bind",
    "networking.IstioIngressListener.captureMode",
    "networking.IstioIngressListener.defaultEndpoint",
    "networking.SidecarPort.number",
    "networking.SidecarPort.protocol",
)
@pytest.mark.parametrize("endpoint", ["127.0.0.1:$APP", "0.0.0.0:$APP"])
async def test_a_listener_of_its_own_forwards_to_the_application(endpoint: str) -> None:
    number = free_port()
    listener = f"port: {{number: {number}, protocol: HTTP}}, bind: 127.0.0.3, captureMode: NONE"
    async with served(f"ingress: [{{{listener}, defaultEndpoint: '{endpoint}'}}]") as mesh:
        assert await mesh.get(f"http://127.0.0.3:{number}/") == 200
        assert await mesh.get(f"http://127.0.0.1:{number}/") == 0


@pytest.mark.proves("networking.IstioIngressListener.defaultEndpoint")
async def test_the_port_of_a_workload_may_lead_to_a_unix_socket() -> None:
    with tempfile.TemporaryDirectory(prefix="mrl-") as directory:
        socket = Path(directory) / "app.sock"
        asked: list[str] = []

        async def answer(request: web.BaseRequest) -> web.Response:
            asked.append(request.path)
            return web.Response()

        runner = web.ServerRunner(web.Server(answer))
        await runner.setup()
        await web.UnixSite(runner, str(socket)).start()
        spec = f"ingress: [{{port: {{number: $APP, protocol: HTTP}}, defaultEndpoint: 'unix://{socket}'}}]"
        async with served(spec) as mesh:
            assert await mesh.get() == 200
            assert (asked, mesh.app.seen) == (["/"], [])
        await runner.cleanup()


@pytest.mark.proves("networking.SidecarPort.protocol")
async def test_the_listeners_protocol_counts() -> None:
    spec = "ingress: [{port: {number: $APP, protocol: TCP}}]"
    async with served(spec) as mesh:
        assert await mesh.get() == 200
        assert "downstream_cx_total" in await mesh.envoy.admin("/stats?filter=^tcp[.]inbound")


@pytest.mark.proves("networking.IstioIngressListener.tls")
@pytest.mark.parametrize(("mode", "mutual"), [("DISABLE", False), ("DISABLE", True), ("PERMISSIVE", False)])
async def test_tls_of_callers_outside_the_mesh_ends_at_the_sidecar(
    tmp_path: Path, mode: str, mutual: bool
) -> None:
    authority = WebAuthority()
    certificate, key = authority.issue("app.example").write(tmp_path, "server")
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    demands = f"mode: MUTUAL, caCertificates: {tmp_path}/ca.pem" if mutual else "mode: SIMPLE"
    tls = f"{{{demands}, serverCertificate: {certificate}, privateKey: {key}}}"
    spec = f"ingress: [{{port: {{number: $APP, protocol: HTTPS}}, tls: {tls}}}]"
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    context.check_hostname = False
    async with served(spec, mode) as mesh:
        secure = mesh.url.replace("http:", "https:")
        assert await mesh.get(secure, context) == (0 if mutual else 200)
        assert await mesh.get() == 0
        if mutual:
            context.load_cert_chain(*authority.issue("client").write(tmp_path, "client"))
            assert await mesh.get(secure, context) == 200


ONE = "{tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}"
MANY = "{tcp: {maxConnections: 9}}"
PORT = "{number: $APP, protocol: HTTP}"


@pytest.mark.proves(
    "networking.SidecarSpec.inboundConnectionPool", "networking.IstioIngressListener.connectionPool"
)
@pytest.mark.parametrize(
    ("spec", "limited"),
    [
        (f"inboundConnectionPool: {ONE}", True),
        (f"ingress: [{{port: {PORT}, connectionPool: {ONE}}}]", True),
        (
            f"inboundConnectionPool: {ONE}, ingress: [{{port: {PORT}, connectionPool: {MANY}}}]",
            False,
        ),
    ],
)
async def test_connections_to_the_application_are_limited(spec: str, limited: bool) -> None:
    async with served(spec, delay=0.5) as mesh:
        statuses = await asyncio.gather(*(mesh.get() for _ in range(6)))
    assert (503 in statuses) is limited
    assert 200 in statuses
