"""Two sidecars with mTLS between them: who is let in, what each side learns of the other."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from routing_envoy import Backend, RunningEnvoy, backend
from static_mesh import Authority, authority, envoy_for, free_port, snapshot_of

from marline.mesh.model import (
    Capture,
    InboundPort,
    Protocol,
    Proxy,
    Role,
    Upstream,
    Workload,
)
from marline.mesh.snapshot import MeshSnapshot

MESH = """
apiVersion: v1
kind: Service
metadata: {{name: reviews, namespace: default}}
spec: {{clusterIP: 10.96.0.1, selector: {{app: reviews}}, ports: [{{name: {name}, port: 9080}}]}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: reviews-1, namespace: default}}
spec:
  address: 127.0.0.1
  ports: {{{name}: {port}}}
  labels: {{app: reviews, version: v1, security.istio.io/tlsMode: istio}}
  serviceAccount: {account}
"""
PERMISSIVE = """
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: all, namespace: default}
spec: {mtls: {mode: %s}}
"""
CLIENT_ID = "spiffe://cluster.local/ns/default/sa/productpage"
SERVER_ID = "spiffe://cluster.local/ns/default/sa/reviews"


@dataclass
class Pair:
    """A client's sidecar, a server's sidecar, and the application behind it."""

    client: RunningEnvoy
    server: RunningEnvoy
    app: Backend
    url: str
    """Where the client's application finds the service."""
    inbound: str
    """Where the server's sidecar listens."""


def client_proxy(listen: int, http_proxy: int = 0) -> Proxy:
    workload = Workload(
        "default",
        "productpage-1",
        "productpage",
        upstreams=(Upstream("reviews", 9080, listen),),
        http_proxy_port=http_proxy,
    )
    return Proxy("client", Role.SIDECAR, Capture.EXPLICIT, (workload,))


def server_proxy(name: str, listen: int, app: int) -> Proxy:
    protocol = {"http": Protocol.HTTP, "auto": Protocol.AUTO, "tcp": Protocol.TCP}[name]
    workload = Workload(
        "default",
        "reviews-1",
        "reviews",
        labels=(("app", "reviews"), ("version", "v1")),
        inbound=(InboundPort(name, listen, "127.0.0.1", app, protocol),),
    )
    return Proxy("server", Role.SIDECAR, Capture.EXPLICIT, (workload,))


@asynccontextmanager
async def pair(
    name: str = "http", rules: str = "", expected: str = "reviews", client_ca: Authority | None = None
) -> AsyncIterator[Pair]:
    """`expected`: the service account that the client is told to expect at the server."""
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(backend("reviews"))
        listen, outbound = free_port(), free_port()
        snapshot: MeshSnapshot = snapshot_of(MESH.format(name=name, port=listen, account=expected) + rules)
        server = await stack.enter_async_context(envoy_for(snapshot, server_proxy(name, listen, app.port)))
        client = await stack.enter_async_context(envoy_for(snapshot, client_proxy(outbound), client_ca))
        yield Pair(client, server, app, f"http://127.0.0.1:{outbound}", f"http://127.0.0.1:{listen}")


async def get(url: str) -> tuple[int, dict[str, object]]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        body = await response.json() if "json" in response.content_type else {}
        return response.status, body


async def plain_text_is_refused(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status >= 500
    except aiohttp.ClientError:
        return True


@pytest.mark.parametrize("name", ["http", "auto"])
async def test_a_request_arrives_with_the_callers_identity(name: str) -> None:
    async with pair(name) as mesh:
        status, body = await get(f"{mesh.url}/reviews/0")
    headers = body["headers"]
    assert isinstance(headers, dict)
    assert (status, body["path"]) == (200, "/reviews/0")
    assert f"URI={CLIENT_ID}" in headers["x-forwarded-client-cert"]
    assert headers["host"] == "reviews:9080"


async def test_sidecars_speak_tls_1_3() -> None:
    async with pair() as mesh:
        await get(mesh.url)
        versions = await mesh.client.admin("/stats?filter=ssl.versions")
    assert [line.rpartition(".ssl.")[2] for line in versions.splitlines()] == ["versions.TLSv1.3: 1"]


@pytest.mark.parametrize("name", ["http", "auto", "tcp"])
async def test_plain_text_is_refused(name: str) -> None:
    async with pair(name) as mesh:
        assert await plain_text_is_refused(mesh.inbound)
        assert not mesh.app.seen


@pytest.mark.parametrize("name", ["http", "auto", "tcp"])
async def test_a_certificate_of_another_authority_is_refused(name: str) -> None:
    async with pair(name, client_ca=authority()) as mesh:
        assert await plain_text_is_refused(mesh.url)
        assert not mesh.app.seen


@pytest.mark.parametrize("name", ["http", "auto", "tcp"])
async def test_a_client_without_certificate_is_refused(name: str) -> None:
    async with pair(name) as mesh, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(mesh.inbound.replace("http:", "https:"), ssl=False)
        assert not mesh.app.seen


@pytest.mark.proves("networking.WorkloadEntrySpec.serviceAccount")
async def test_a_server_with_another_identity_than_the_services_is_not_called() -> None:
    async with pair(expected="somebody-else") as mesh:
        status, _ = await get(mesh.url)
        assert (status, mesh.app.seen) == (503, [])


@pytest.mark.parametrize("name", ["http", "auto", "tcp"])
@pytest.mark.parametrize("mode", ["PERMISSIVE", "DISABLE"])
async def test_plain_text_is_served_where_policy_allows_it(name: str, mode: str) -> None:
    async with pair(name, PERMISSIVE % mode) as mesh:
        assert (await get(mesh.inbound))[0] == 200
        status, body = await get(mesh.url)
    headers = body["headers"]
    assert isinstance(headers, dict)
    has_identity = "x-forwarded-client-cert" in headers
    assert (status, has_identity) == (200, mode == "PERMISSIVE" and name != "tcp")


async def test_both_sides_count_the_request_with_both_identities() -> None:
    async with pair() as mesh:
        await get(mesh.url)
        sent = await _requests(mesh.client)
        received = await _requests(mesh.server)
    common = {
        "source_principal": CLIENT_ID,
        "destination_principal": SERVER_ID,
        "destination_service": "reviews.default.svc.cluster.local",
        "destination_workload": "reviews-1",
        "response_code": "200",
    }
    assert sent == {**sent, **common, "reporter": "source", "source_workload": "productpage-1"}
    assert received == {
        **received, **common, "reporter": "destination", "connection_security_policy": "mutual_tls",
    }  # fmt: skip


async def _requests(envoy: RunningEnvoy) -> dict[str, str]:
    text = await envoy.admin("/stats/prometheus?filter=requests_total")
    line = next(item for item in text.splitlines() if "istio" in item and "requests_total{" in item)
    inside = line[line.index("{") + 1 : line.rindex("}")]
    return {name: value.strip('"') for name, _, value in (part.partition("=") for part in inside.split(","))}
