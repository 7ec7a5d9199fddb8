"""AuthorizationPolicies with action CUSTOM: real proxies ask real services of both protocols."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
import yaml
from authorization_servers import Authorizer, grpc_authorizer, http_authorizer
from policy_mesh import Caller, protected_service
from static_mesh import envoy_for, free_port, snapshot_of
from tcp_servers import echo, tcp_server
from test_core_mtls import CLIENT_ID, MESH, client_proxy, server_proxy

HTTP = "http.asked.test"
GRPC = "grpc.asked.test"
GONE = "gone.asked.test"
ENTRY = """
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: %(host)s, namespace: %(namespace)s}
spec:
  hosts: [%(host)s]
  resolution: STATIC
  ports: [{number: 80, name: %(name)s, protocol: %(protocol)s}]
  endpoints: [{address: 127.0.0.1, ports: {%(name)s: %(port)d}}]
"""
POLICY = """
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: %(name)s, namespace: default}
spec: {action: CUSTOM, provider: {name: %(name)s}, rules: [{to: [{operation: %(operation)s}]}]}
"""
TOLD = {"service": HTTP, "port": 80, "includeRequestHeadersInCheck": ["x-token"]}
PROVIDERS = {
    "told": {
        "service": f"default/{HTTP}",
        "port": 80,
        "pathPrefix": "/check",
        "includeRequestHeadersInCheck": ["x-token", "x-pre*", "*-end"],
        "includeAdditionalHeadersInCheck": {"x-fixed": "1"},
        "includeRequestBodyInCheck": {"maxRequestBytes": 8},
        "headersToUpstreamOnAllow": ["x-who"],
        "headersToDownstreamOnDeny": ["x-level"],
        "headersToDownstreamOnAllow": ["*-who"],
    },
    "old": {
        "service": HTTP,
        "port": 80,
        "includeHeadersInCheck": ["x-token"],
        "includeRequestBodyInCheck": {"maxRequestBytes": 4, "allowPartialMessage": True},
    },
    "gone": {**TOLD, "service": GONE, "statusOnError": "503"},
    "open": {**TOLD, "service": GONE, "failOpen": True},
    "slow": {**TOLD, "timeout": "0.1s"},
    "nowhere": {**TOLD, "port": 81},
    "grpc": {
        "service": GRPC,
        "port": 80,
        "includeRequestBodyInCheck": {"maxRequestBytes": 8, "packAsBytes": True},
    },
    "grpc-gone": {"service": GONE, "port": 80, "statusOnError": "429"},
    "grpc-open": {"service": GONE, "port": 80, "failOpen": True},
    "grpc-slow": {"service": GRPC, "port": 80, "timeout": "0.1s"},
}
"""By name, each for the requests to the path of its name."""


def mesh_config() -> str:
    listed = [
        {"name": name, "envoyExtAuthzGrpc" if name.startswith("grpc") else "envoyExtAuthzHttp": asked}
        for name, asked in PROVIDERS.items()
    ]
    obj = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": "istio-system"},
        "data": {"mesh": yaml.safe_dump({"extensionProviders": listed})},
    }
    return "---\n" + yaml.safe_dump(obj)


def policy(name: str, operation: str = "") -> str:
    return POLICY % {"name": name, "operation": operation or f"{{paths: ['/{name}*']}}"}


def entry(host: str, port: int, protocol: str, namespace: str = "default") -> str:
    said = {"host": host, "port": port, "protocol": protocol, "name": protocol.lower()}
    return ENTRY % {**said, "namespace": namespace}


@dataclass
class Asking:
    caller: Caller
    http: Authorizer
    grpc: Authorizer

    async def get(self, path: str, **headers: str) -> int:
        return (await self.caller.send(path, **headers)).status

    async def post(self, path: str, body: bytes) -> int:
        url = self.caller.base + path
        async with self.caller.session.post(url, data=body, headers={"x-token": "good"}) as response:
            return response.status


@asynccontextmanager
async def authorizers() -> AsyncIterator[tuple[Authorizer, Authorizer, str]]:
    """Both, and what a mesh says of them."""
    async with http_authorizer() as http, grpc_authorizer() as grpc:
        entries = entry(HTTP, http.port, "HTTP") + entry(GRPC, grpc.port, "GRPC")
        yield http, grpc, entries + entry(GONE, free_port(), "GRPC") + mesh_config()


@asynccontextmanager
async def asking(*policies: str) -> AsyncIterator[Asking]:
    async with authorizers() as (http, grpc, resources), protected_service(resources, *policies) as caller:
        yield Asking(caller, http, grpc)


@pytest.mark.proves(
    "security.AuthorizationPolicySpec.action",
    "security.AuthorizationPolicySpec.provider",
    "security.ExtensionProvider.name",
    "mesh_config.MeshConfig.extensionProviders",
    "mesh_config.ExtensionProvider.name",
    "mesh_config.ExtensionProvider.envoyExtAuthzHttp",
    "mesh_config.ExtAuthzHttp.service",
    "mesh_config.ExtAuthzHttp.port",
    "mesh_config.ExtAuthzHttp.pathPrefix",
    "mesh_config.ExtAuthzHttp.includeRequestHeadersInCheck",
    "mesh_config.ExtAuthzHttp.includeAdditionalHeadersInCheck",
    "mesh_config.ExtAuthzHttp.includeHeadersInCheck",
    "mesh_config.ExtAuthzHttp.includeRequestBodyInCheck",
    "mesh_config.ExtAuthzHttp.headersToUpstreamOnAllow",
    "mesh_config.ExtAuthzHttp.headersToDownstreamOnDeny",
    "mesh_config.ExtAuthzHttp.headersToDownstreamOnAllow",
    "mesh_config.ExtAuthzHttp.failOpen",
    "mesh_config.ExtAuthzHttp.statusOnError",
    "mesh_config.ExtAuthzHttp.timeout",
    "mesh_config.RequestBody.maxRequestBytes",
    "mesh_config.RequestBody.allowPartialMessage",
)
async def test_a_service_of_http_decides_about_what_rules_cover() -> None:
    names = ("told", "old", "gone", "open", "slow", "nowhere", "unknown")
    async with asking(*(policy(name) for name in names)) as mesh:
        assert (await mesh.get("/free"), mesh.http.seen) == (200, [])
        denied = await mesh.caller.send("/told/a?b", x_token="bad")
        assert (denied.status, denied.headers.get("x-level"), "x-who" in denied.headers) == (401, "7", False)
        passed = await mesh.caller.send("/told/a?b", x_token="good", x_prefix="1", x_end="2", x_other="3")
        assert (passed.status, passed.headers.get("x-who"), passed.headers.get("x-level")) == (
            200,
            "ann",
            None,
        )
        asked = mesh.http.last
        assert (asked.method, asked.path) == ("GET", "/check/told/a?b")
        told = [asked.headers.get(name) for name in ("x-prefix", "x-end", "x-other", "x-fixed")]
        assert told == ["1", "2", None, "1"]
        at_app = mesh.caller.app.seen[-1].headers
        assert (at_app.get("x-who"), at_app.get("x-level")) == ("ann", None)
        assert (await mesh.post("/told", b"12345678"), mesh.http.last.body) == (200, b"12345678")
        assert await mesh.post("/told", b"123456789") == 413
        assert (await mesh.post("/old", b"123456789"), mesh.http.last.body) == (200, b"1234")
        # Nobody there, nobody in time, nobody at all.
        assert [await mesh.get(path) for path in ("/gone", "/open")] == [503, 200]
        mesh.http.delay = 5.0
        assert await mesh.get("/slow", x_token="good") == 403
        assert [await mesh.get(path, x_token="good") for path in ("/nowhere", "/unknown")] == [403, 403]


@pytest.mark.proves(
    "mesh_config.ExtensionProvider.envoyExtAuthzGrpc",
    "mesh_config.ExtAuthzGrpc.service",
    "mesh_config.ExtAuthzGrpc.port",
    "mesh_config.ExtAuthzGrpc.includeRequestBodyInCheck",
    "mesh_config.ExtAuthzGrpc.failOpen",
    "mesh_config.ExtAuthzGrpc.statusOnError",
    "mesh_config.ExtAuthzGrpc.timeout",
    "mesh_config.RequestBody.packAsBytes",
)
async def test_a_service_of_grpc_decides_about_what_rules_cover() -> None:
    names = ("grpc/", "grpc-gone", "grpc-open", "grpc-slow")
    policies = [policy(name.rstrip("/"), f"{{paths: ['/{name}*']}}") for name in names]
    async with asking(*policies) as mesh:
        assert await mesh.get("/grpc/a?b", x_token="bad") == 401
        assert await mesh.get("/grpc/a?b", x_token="good") == 200
        asked = mesh.grpc.last
        assert (asked.path, asked.principal) == ("/grpc/a?b", CLIENT_ID)
        assert mesh.caller.app.seen[-1].headers["x-who"] == "ann"
        assert (await mesh.post("/grpc/", b"\xff345678"), mesh.grpc.last.body) == (200, b"\xff345678")
        assert mesh.grpc.last.raw
        assert await mesh.post("/grpc/", b"123456789") == 413
        assert [await mesh.get(path) for path in ("/grpc-gone", "/grpc-open")] == [429, 200]
        mesh.grpc.delay = 5.0
        assert await mesh.get("/grpc-slow", x_token="good") == 403


@asynccontextmanager
async def connected(*policies: str) -> AsyncIterator[tuple[int, Authorizer, Authorizer]]:
    """A TCP service behind its sidecar: the client's port, and both authorizers."""
    async with AsyncExitStack() as stack:
        http, grpc, resources = await stack.enter_async_context(authorizers())
        app, listen, outbound = await stack.enter_async_context(tcp_server(echo)), free_port(), free_port()
        text = MESH.format(name="tcp", port=listen, account="reviews") + resources + "".join(policies)
        snapshot = snapshot_of(text)
        for proxy in (server_proxy("tcp", listen, app), client_proxy(outbound)):
            await stack.enter_async_context(envoy_for(snapshot, proxy))
        yield outbound, http, grpc


async def passes(port: int) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"hello")
        return await asyncio.wait_for(reader.read(5), 20) == b"hello"
    except ConnectionError:
        return False
    finally:
        writer.close()


async def test_connections_are_asked_about_over_grpc_only() -> None:
    anything = "{notPorts: ['1']}"
    async with connected(policy("grpc", anything)) as (port, _, grpc):
        for grpc.verdict in (False, True):
            assert await passes(port) is grpc.verdict
        assert grpc.last.principal == CLIENT_ID
    async with connected(policy("told", anything)) as (port, http, _):
        assert (await passes(port), http.seen) == (True, [])
    async with connected(policy("nowhere", anything)) as (port, _, _):
        assert not await passes(port)


async def test_a_policy_that_denies_counts_before_one_that_allows_and_after_the_service() -> None:
    deny = """
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: default}
spec: {action: DENY, rules: [{to: [{operation: {paths: ["/told/never"]}}]}]}
"""
    async with asking(policy("told"), deny) as mesh:
        assert [await mesh.get("/told/never", x_token=token) for token in ("bad", "good")] == [401, 403]
        assert await mesh.get("/told/ever", x_token="good") == 200
