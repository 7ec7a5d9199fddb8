"""Who a gateway takes for its client: as the proxies before it say, if they are to be believed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from api_gateway import Edge, document, edge, gateway, route, service
from routing_envoy import backend

CLIENT, BEFORE = "192.0.2.7", "203.0.113.5"
POLICY = document(
    "AuthorizationPolicy", "client",
    {"selector": {"matchLabels": {"istio": "ingressgateway"}},
     "rules": [{"from": [{"source": {"remoteIpBlocks": [CLIENT], "ipBlocks": ["127.0.0.1"]}}]}]},
    "istio-system", "security.istio.io",
)  # fmt: skip
MESH_CONFIG = """
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "defaultConfig: {gatewayTopology: %s}"}
"""


@asynccontextmanager
async def behind(topology: str) -> AsyncIterator[Edge]:
    async with backend("app") as app:
        text = service("app", app.port) + gateway("[{name: one, port: 80, protocol: HTTP}]") + POLICY
        text += route("HTTPRoute", "app", "{rules: [{backendRefs: [{name: app, port: 80}]}]}")
        async with edge(text + MESH_CONFIG % topology, 80) as running:
            yield running


@pytest.mark.proves("mesh_config.MeshConfig.defaultConfig", "security.Source.remoteIpBlocks")
@pytest.mark.parametrize(
    ("trusted", "forwarded", "status"),
    [
        (0, CLIENT, 403),
        (1, f"{BEFORE}, {CLIENT}", 200),
        (1, f"{CLIENT}, {BEFORE}", 403),
        (2, f"{CLIENT}, {BEFORE}", 200),
    ],
)
async def test_so_many_proxies_are_believed(trusted: int, forwarded: str, status: int) -> None:
    async with behind(f"{{numTrustedProxies: {trusted}}}") as running:
        reply = await running.send(80, "shop.example.com", **{"X-Forwarded-For": forwarded})
        assert reply.status == status


@pytest.mark.proves("mesh_config.MeshConfig.defaultConfig")
async def test_the_proxy_protocol_tells_who_the_client_is() -> None:
    async with behind("{proxyProtocol: {}}") as running:
        request = "GET / HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n"
        for header, answer in (
            (f"PROXY TCP4 {CLIENT} 127.0.0.1 5000 80\r\n", b"HTTP/1.1 200"),
            (f"PROXY TCP4 {BEFORE} 127.0.0.1 5000 80\r\n", b"HTTP/1.1 403"),
            ("", b""),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", running.listen(80))
            writer.write((header + request).encode())
            try:
                assert (await reader.read(12)) == answer
            except ConnectionResetError:
                assert not answer
            writer.close()
