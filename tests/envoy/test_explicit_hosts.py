"""Under explicit capture every host that the mesh has a word for is reached through the proxy: one that only
rules name, by its upstream; one behind TLS, through a tunnel."""

import asyncio
from contextlib import AsyncExitStack

import aiohttp
from routing_envoy import backend
from static_mesh import envoy_for, free_port, snapshot_of

from marline.mesh.model import Capture, Proxy, Role, Upstream, Workload

MESH = """
{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: away, namespace: default}},
 spec: {{hosts: [away.example.com], resolution: STATIC, exportTo: ["."],
  ports: [{{number: 8000, name: http, protocol: HTTP}}],
  endpoints: [{{address: 127.0.0.1, ports: {{http: {app}}}}}]}}}}
---
{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: away, namespace: aside}},
 spec: {{hosts: [away.example.com], resolution: STATIC, exportTo: ["."],
  ports: [{{number: 8001, name: http, protocol: HTTP}}], endpoints: [{{address: 127.0.0.1}}]}}}}
---
{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: front, namespace: default}},
 spec: {{hosts: [front.example.com], http: [{{rewrite: {{uri: /rewritten/}},
  route: [{{destination: {{host: away.example.com}}}}]}}]}}}}
---
{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: secure, namespace: default}},
 spec: {{hosts: [secure.example.com], resolution: STATIC,
  ports: [{{number: 443, name: tls, protocol: TLS}}],
  endpoints: [{{address: 127.0.0.1, ports: {{tls: 1}}}}]}}}}
---
{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: stand-in, namespace: default}},
 spec: {{hosts: [stand-in.example.com], resolution: STATIC,
  ports: [{{number: 443, name: tls, protocol: TLS}}],
  endpoints: [{{address: 127.0.0.1, ports: {{tls: {bytes}}}}}]}}}}
---
{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: secure, namespace: default}},
 spec: {{hosts: [secure.example.com], tls: [{{match: [{{sniHosts: [secure.example.com]}}],
  route: [{{destination: {{host: stand-in.example.com}}}}]}}]}}}}
---
{{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {{name: strict, namespace: default}},
 spec: {{outboundTrafficPolicy: {{mode: REGISTRY_ONLY}}}}}}
"""


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readexactly(5) + b" and back")
    writer.close()


async def tunnel(port: int, target: str) -> bytes:
    """What comes through, or how the tunnel is refused."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    if b" 200 " not in head:
        writer.close()
        return head.split(b" ")[1]
    writer.write(b"there")
    said = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return said


async def test_hosts_that_only_rules_name_and_hosts_behind_tls_are_reached() -> None:
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(backend("away"))
        server = await stack.enter_async_context(await asyncio.start_server(greet, "127.0.0.1", 0))
        snapshot = snapshot_of(MESH.format(app=app.port, bytes=server.sockets[0].getsockname()[1]))
        listen, proxy = free_port(), free_port()
        upstreams = (Upstream("front.example.com", 80, listen),)
        caller = Workload("default", "client", upstreams=upstreams, http_proxy_port=proxy)
        client = Proxy("client", Role.SIDECAR, Capture.EXPLICIT, (caller,), "127.0.0.1")
        await stack.enter_async_context(envoy_for(snapshot, client))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        async with session.get(f"http://127.0.0.1:{listen}/asked") as response:
            assert response.status == 200
        assert app.seen[-1].path == "/rewritten/asked"
        assert await tunnel(proxy, "secure.example.com:443") == b"there and back"
        assert await tunnel(proxy, "unknown.example.com:443") == b"404"
