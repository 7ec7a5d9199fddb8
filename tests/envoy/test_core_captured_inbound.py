"""The inbound listener of transparent capture, met at a served port itself instead of by redirection."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import aiohttp
import pytest
from routing_envoy import Backend, backend, run_envoy
from static_mesh import envoy_for, free_port, mesh_authority, snapshot_of, static_config
from test_core_mtls import MESH, PERMISSIVE, client_proxy, get, plain_text_is_refused, server_proxy

from marline.mesh.model import Capture

PORT_POLICY = """
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: port, namespace: default}
spec:
  selector: {matchLabels: {app: reviews}}
  portLevelMtls: {%d: {mode: %s}}
"""


@dataclass
class Captured:
    app: Backend
    url: str
    inbound: str


@asynccontextmanager
async def captured(name: str, mode: str = "", *, port_mode: str = "") -> AsyncIterator[Captured]:
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(backend("reviews"))
        listen, outbound = free_port(), free_port()
        policies = (PERMISSIVE % mode if mode else "") + (
            PORT_POLICY % (listen, port_mode) if port_mode else ""
        )
        snapshot = snapshot_of(MESH.format(name=name, port=listen, account="reviews") + policies)
        proxy = replace(server_proxy(name, listen, app.port), capture=Capture.TRANSPARENT)
        identity = mesh_authority().svid("spiffe://cluster.local/ns/default/sa/reviews")
        static = static_config(snapshot, proxy, identity, mesh_authority().pem)
        static["listeners"] = [item for item in static["listeners"] if item["name"] == "virtualInbound"]
        address = static["listeners"][0]["address"]["socketAddress"]
        address |= {"address": "127.0.0.1", "portValue": listen}
        await stack.enter_async_context(run_envoy(static))
        await stack.enter_async_context(envoy_for(snapshot, client_proxy(outbound)))
        yield Captured(app, f"http://127.0.0.1:{outbound}", f"http://127.0.0.1:{listen}")


@pytest.mark.parametrize("name", ["http", "auto", "tcp"])
async def test_mtls_is_served_and_plain_text_refused(name: str) -> None:
    async with captured(name) as mesh:
        assert (await get(mesh.url))[0] == 200
        assert await plain_text_is_refused(mesh.inbound)
        assert len(mesh.app.seen) == 1


@pytest.mark.parametrize("name", ["http", "auto", "tcp"])
@pytest.mark.parametrize("mode", ["PERMISSIVE", "DISABLE"])
async def test_plain_text_is_served_where_policy_allows_it(name: str, mode: str) -> None:
    async with captured(name, mode) as mesh:
        assert (await get(mesh.inbound))[0] == 200
        assert (await get(mesh.url))[0] == 200


async def test_a_port_may_demand_mtls_where_its_workload_does_not() -> None:
    async with captured("http", "DISABLE", port_mode="STRICT") as mesh:
        assert await plain_text_is_refused(mesh.inbound)
        assert (await get(mesh.url))[0] == 200


async def test_an_application_may_have_tls_of_its_own_where_mtls_is_not_demanded() -> None:
    async with captured("http", "PERMISSIVE") as mesh, aiohttp.ClientSession() as session:
        # The bytes reach the application, which here speaks no TLS and answers so in plain text.
        with pytest.raises(aiohttp.ClientError, match=r"(?i)ssl|record|wrong"):
            await session.get(mesh.inbound.replace("http:", "https:"), ssl=False)
