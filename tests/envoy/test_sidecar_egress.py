"""A Sidecar says what a workload may call: on which ports, at which listeners, and what of the rest."""

import tempfile
from pathlib import Path

import aiohttp
import pytest
from mesh_client import PORT, called
from static_mesh import free_port
from test_virtual_service_connections import answer, talker

SIDECAR = """
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: client, namespace: default}
spec: %s
"""
ONE_HOST = "hosts: ['./app.default.svc.cluster.local']"


async def get(url: str, host: str = "", socket: Path | None = None) -> int:
    """The status; 0 if the connection is refused."""
    connector = aiohttp.UnixConnector(str(socket)) if socket else None
    try:
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(url, headers={"Host": host} if host else {}) as response,
        ):
            return response.status
    except aiohttp.ClientError:
        return 0


@pytest.mark.proves(
    "networking.SidecarSpec.egress",
    "networking.IstioEgressListener.hosts",
    "networking.SidecarSpec.outboundTrafficPolicy",
    "networking.OutboundTrafficPolicy.mode",
)
@pytest.mark.parametrize(("mode", "status"), [("REGISTRY_ONLY", 502), ("ALLOW_ANY", 200)])
async def test_what_is_not_imported_is_unknown(mode: str, status: int) -> None:
    spec = f"{{egress: [{{{ONE_HOST}}}], outboundTrafficPolicy: {{mode: {mode}}}}}"
    async with called(SIDECAR % spec, "app", "other") as mesh:
        assert (await mesh.send("app")).status == 200
        assert await get(f"http://127.0.0.1:{mesh.ports['other']}/") == 0  # it has no listener
        outside = f"http://127.0.0.1:{mesh.backends['other'].port}/"
        assert (await mesh.proxied(outside)).status == status


@pytest.mark.proves("networking.IstioEgressListener.hosts")
@pytest.mark.parametrize(("owner", "answering"), [("default", "elsewhere"), ("other", "app")])
async def test_rules_are_imported_as_services_are_and_with_them_where_they_lead(
    owner: str, answering: str
) -> None:
    """Rules of namespaces that the Sidecar does not name do not count; where the others lead is reached,
    though the Sidecar does not name it."""
    rules = f"""
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: away, namespace: {owner}}}
spec:
  hosts: [app.default.svc.cluster.local]
  http: [{{route: [{{destination: {{host: elsewhere.default.svc.cluster.local}}}}]}}]
"""
    spec = "{egress: [{hosts: ['default/app.default.svc.cluster.local']}]}"
    async with called(SIDECAR % spec + rules, "app", "elsewhere") as mesh:
        assert (await mesh.send("app")).backend == answering


@pytest.mark.proves("networking.IstioEgressListener.hosts")
async def test_where_routes_of_an_imported_service_lead_is_imported_with_it() -> None:
    route = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: away, namespace: default}
spec:
  parentRefs: [{group: "", kind: Service, name: app}]
  rules: [{backendRefs: [{name: elsewhere, port: 9080}]}]
"""
    async with called(SIDECAR % f"{{egress: [{{{ONE_HOST}}}]}}" + route, "app", "elsewhere") as mesh:
        assert (await mesh.send("app")).backend == "elsewhere"


@pytest.mark.proves(
    "networking.IstioEgressListener.port",
    "networking.IstioEgressListener.bind",
    "networking.IstioEgressListener.captureMode",
)
@pytest.mark.parametrize(
    ("place", "address"),
    [("", "127.0.0.1"), ("captureMode: NONE,", "127.0.0.1"), ("bind: 127.0.0.4,", "127.0.0.4")],
)
async def test_a_listener_of_its_own_routes_to_the_hosts_that_it_imports(place: str, address: str) -> None:
    """Nothing else is taken to be at this port; other ports have what the listener without port imports."""
    listener = f"port: {{number: {PORT}, protocol: HTTP}}, {place} {ONE_HOST}"
    async with called(SIDECAR % f"{{egress: [{{{listener}}}, {{hosts: ['*/*']}}]}}", "app", "other") as mesh:
        url = f"http://{address}:{PORT}/"
        assert await get(url, f"app:{PORT}") == 200
        assert await get(url, "app.default.svc.cluster.local") == 200
        assert len(mesh.backends["app"].seen) == 2
        assert (await mesh.send("app")).status == 200
        assert await get(f"http://127.0.0.1:{mesh.ports['other']}/") == 0
        assert not mesh.backends["other"].seen


@pytest.mark.proves("networking.IstioEgressListener.bind")
async def test_a_listener_may_be_a_unix_socket() -> None:
    with tempfile.TemporaryDirectory(prefix="mrl-") as directory:
        socket = Path(directory) / "egress.sock"
        listener = f"{{port: {{protocol: HTTP}}, bind: 'unix://{socket}', {ONE_HOST}}}"
        async with called(SIDECAR % f"{{egress: [{listener}]}}", "app") as mesh:
            assert await get("http://app/", socket=socket) == 200
            assert await get(f"http://app:{PORT}/", socket=socket) == 200
            assert len(mesh.backends["app"].seen) == 2


@pytest.mark.proves(
    "networking.IstioEgressListener.port",
    "networking.SidecarPort.protocol",
    "networking.ServicePort.protocol",
)
@pytest.mark.parametrize("protocol", ["TCP", "MONGO", "mysql", "Redis"])
async def test_bytes_have_listeners_too(protocol: str) -> None:
    number = free_port()
    entry = """
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db, namespace: default}
spec: {hosts: [db.example], resolution: STATIC, endpoints: [{address: 127.0.0.1, ports: {tcp: %d}}],
  ports: [{number: %d, name: tcp, protocol: %s}]}
"""
    listener = f"{{port: {{number: {number}, protocol: TCP}}, captureMode: NONE, hosts: [./db.example]}}"
    async with (
        talker("database") as port,
        called(entry % (port, number, protocol) + SIDECAR % f"{{egress: [{listener}]}}", "app"),
    ):
        assert await answer(number) == "database"


@pytest.mark.proves("networking.OutboundTrafficPolicy.egressProxy")
async def test_what_is_unknown_goes_through_the_egress_proxy() -> None:
    proxy = f"{{host: exit.default.svc.cluster.local, port: {{number: {PORT}}}}}"
    spec = f"{{outboundTrafficPolicy: {{mode: ALLOW_ANY, egressProxy: {proxy}}}}}"
    async with called(SIDECAR % spec, "app", "exit") as mesh:
        assert (await mesh.proxied("http://unknown.example/x")).backend == "exit"
        assert mesh.backends["exit"].seen[0].host == "unknown.example"
        assert (await mesh.send("app")).backend == "app"
