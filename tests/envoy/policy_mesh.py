"""Policies at work: a service behind its sidecar, called through another; a gateway before two services."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from routing_envoy import Backend, RunningEnvoy, backend, run_envoy
from static_mesh import free_port, mesh_authority, snapshot_of, static_config
from test_core_mtls import MESH, client_proxy, server_proxy

from marline.mesh.model import Capture, GatewayPort, Proxy, Role, Workload
from marline.node.bootstrap import RATE_LIMIT_CLUSTER

POLICY = """
---
apiVersion: policy.marline.io/v1alpha1
kind: %s
metadata: {name: %s, namespace: default}
spec: %s
"""
BACKENDS = """
apiVersion: v1
kind: Service
metadata: {{name: one, namespace: default}}
spec: {{clusterIP: 10.96.0.1, selector: {{app: one}}, ports: [{{name: http, port: 80}}]}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: one-1, namespace: default}}
spec: {{address: 127.0.0.1, ports: {{http: {port}}}, labels: {{app: one}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge, namespace: default}}
spec:
  gatewayClassName: marline
  listeners: [{{name: web, port: 80, protocol: HTTP}}, {{name: other, port: 81, protocol: HTTP}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: shop, namespace: default}}
spec:
  parentRefs: [{{name: edge}}]
  rules:
  - {{name: cart, matches: [{{path: {{value: /cart}}}}], backendRefs: [{{name: one, port: 80}}]}}
  - {{name: rest, backendRefs: [{{name: one, port: 80}}]}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: classic, namespace: default}}
spec: {{servers: [{{name: plain, port: {{number: 82, name: http, protocol: HTTP}}, hosts: ["*"]}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop, namespace: default}}
spec:
  hosts: ["*"]
  gateways: [classic]
  http:
  - {{name: cart, match: [{{uri: {{prefix: /cart}}}}], route: [{{destination: {{host: one}}}}]}}
  - {{name: rest, route: [{{destination: {{host: one}}}}]}}
"""


def policy(kind: str, spec: str, name: str = "own") -> str:
    """A resource in YAML; `spec` too."""
    return POLICY % (kind, name, spec)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]


@dataclass
class Caller:
    """Sends requests to one place."""

    session: aiohttp.ClientSession
    app: Backend
    base: str = ""
    proxies: dict[str, RunningEnvoy] = field(default_factory=dict)

    async def send(self, path: str = "/", method: str = "GET", base: str = "", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = (base or self.base) + path
        async with self.session.request(method, url, headers=named, allow_redirects=False) as response:
            await response.read()
            return Answer(response.status, {name.lower(): value for name, value in response.headers.items()})

    async def statuses(self, count: int, path: str = "/", method: str = "GET", **headers: str) -> list[int]:
        """Of so many requests, one after the other."""
        return [(await self.send(path, method, **headers)).status for _ in range(count)]

    async def at_once(self, count: int, path: str = "/", method: str = "GET") -> Counter[int]:
        """The statuses of so many requests at the same time."""
        answers = await asyncio.gather(*(self.send(path, method) for _ in range(count)))
        return Counter(answer.status for answer in answers)

    async def stats(self, proxy: str, pattern: str) -> dict[str, int]:
        """Counters and gauges by the last two parts of their names."""
        text = await self.proxies[proxy].admin(f"/stats?filter={pattern}")
        pairs = (line.rsplit(": ", 1) for line in text.splitlines() if ": " in line)
        return {".".join(name.split(".")[-2:]): int(value) for name, value in pairs if value.isdigit()}


@asynccontextmanager
async def protected_service(*policies: str, limits_socket: Path | None = None) -> AsyncIterator[Caller]:
    """`reviews` behind its sidecar, called through the sidecar of `productpage`, with these policies."""
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(backend("reviews"))
        listen, outbound = free_port(), free_port()
        text = MESH.format(name="http", port=listen, account="reviews") + "".join(policies)
        caller = Caller(
            await stack.enter_async_context(aiohttp.ClientSession()), app, f"http://127.0.0.1:{outbound}"
        )
        for name, proxy in (
            ("server", server_proxy("http", listen, app.port)),
            ("client", client_proxy(outbound)),
        ):
            caller.proxies[name] = await stack.enter_async_context(_envoy(text, proxy, limits_socket))
        yield caller


@dataclass
class Ports:
    """Where a gateway's listeners are: two of the Gateway API's, one of Istio's."""

    web: str
    other: str
    classic: str


@asynccontextmanager
async def gateway(*policies: str, limits_socket: Path | None = None) -> AsyncIterator[tuple[Caller, Ports]]:
    """A gateway with routes of both APIs to one service, with these policies."""
    numbers = [free_port() for _ in range(3)]
    ports = tuple(GatewayPort(80 + index, number) for index, number in enumerate(numbers))
    labels = (("istio", "ingressgateway"),)
    proxy = Proxy(
        "gateway", Role.GATEWAY, Capture.EXPLICIT, (Workload("default", "edge-1", labels=labels),),
        bind_address="127.0.0.1", gateway_ports=ports,
    )  # fmt: skip
    async with backend("one") as app, aiohttp.ClientSession() as session:
        text = BACKENDS.format(port=app.port) + "".join(policies)
        async with _envoy(text, proxy, limits_socket) as envoy:
            web, other, classic = (f"http://127.0.0.1:{number}" for number in numbers)
            yield Caller(session, app, web, {"gateway": envoy}), Ports(web, other, classic)


@asynccontextmanager
async def _envoy(text: str, proxy: Proxy, limits_socket: Path | None) -> AsyncIterator[RunningEnvoy]:
    workload = proxy.workloads[0]
    spiffe_id = f"spiffe://cluster.local/ns/{workload.namespace}/sa/{workload.service_account}"
    identity = mesh_authority().svid(spiffe_id)
    static = static_config(snapshot_of(text), proxy, identity, mesh_authority().pem)
    static["clusters"].append(_limits_cluster(limits_socket or Path("/nowhere")))
    async with run_envoy(static) as running:
        yield running


def _limits_cluster(socket: Path) -> dict[str, Any]:
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(socket)}}}}
    return {
        "name": RATE_LIMIT_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": RATE_LIMIT_CLUSTER,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
        "typed_extension_protocol_options": {
            options: {
                "@type": f"type.googleapis.com/{options}",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
    }
