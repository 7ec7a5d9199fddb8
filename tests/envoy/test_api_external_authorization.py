"""Routes of the Gateway API have another service asked whether a request may pass (ExternalAuth)."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import yaml
from api_gateway import Edge, document, edge, gateway, route, service
from authorization_servers import Authorizer, grpc_authorizer, http_authorizer
from routing_envoy import Backend, backend
from test_api_service_routes import application

LISTENERS = "[{name: web, port: 80, protocol: HTTP}]"
ASKED = "{name: asked, port: 80}"
GRPC = "{name: grpc, port: 80}"
OTHER = "{name: far, namespace: away, port: 80}"
RULES = f"""
rules:
- matches: [{{path: {{value: /free}}}}]
  backendRefs: [{{name: app, port: 80}}]
- matches: [{{path: {{value: /plain}}}}]
  filters: [{{type: ExternalAuth, externalAuth: {{protocol: HTTP, http: {{}}, backendRef: {ASKED}}}}}]
  backendRefs: [{{name: app, port: 80}}]
- matches: [{{path: {{value: /told}}}}]
  filters:
  - type: ExternalAuth
    externalAuth:
      protocol: HTTP
      backendRef: {{name: asked, port: 80}}
      http: {{path: /check, allowedHeaders: [X-Token], allowedResponseHeaders: [X-Who]}}
      forwardBody: {{maxSize: 8}}
  backendRefs: [{{name: app, port: 80}}]
- matches: [{{path: {{value: /grpc}}}}]
  filters:
  - {{type: ExternalAuth, externalAuth: {{protocol: GRPC, grpc: {{}}, backendRef: {{name: grpc, port: 80}}}}}}
  backendRefs: [{{name: app, port: 80}}]
- matches: [{{path: {{value: /few}}}}]
  filters:
  - type: ExternalAuth
    externalAuth: {{protocol: GRPC, grpc: {{allowedHeaders: [x-token]}}, backendRef: {GRPC}}}
  backendRefs: [{{name: app, port: 80}}]
- matches: [{{path: {{value: /backend}}}}]
  backendRefs:
  - name: app
    port: 80
    filters:
    - type: ExternalAuth
      externalAuth: {{protocol: HTTP, http: {{allowedHeaders: [x-token]}}, backendRef: {ASKED}}}
- matches: [{{path: {{value: /both}}}}]
  filters:
  - {{type: ExternalAuth, externalAuth: {{protocol: HTTP, http: {{}}, backendRef: {ASKED}}}}}
  - {{type: ExternalAuth, externalAuth: {{protocol: GRPC, grpc: {{}}, backendRef: {GRPC}}}}}
  backendRefs: [{{name: app, port: 80}}]
- matches: [{{path: {{value: /far}}}}]
  filters: [{{type: ExternalAuth, externalAuth: {{protocol: HTTP, http: {{}}, backendRef: {OTHER}}}}}]
  backendRefs: [{{name: app, port: 80}}]
"""
GRANT = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: in, namespace: away}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}]
  to: [{group: "", kind: Service}]
"""


class Guarded:
    def __init__(self, edge: Edge, app: Backend, http: Authorizer, grpc: Authorizer) -> None:
        self.edge, self.app, self.http, self.grpc = edge, app, http, grpc

    async def get(self, path: str, **headers: str) -> int:
        return (await self.edge.send(80, "shop.test", path, **headers)).status

    async def post(self, path: str, body: bytes) -> int:
        url = f"http://127.0.0.1:{self.edge.listen(80)}{path}"
        async with self.edge.session.post(url, data=body, headers={"x-token": "good"}) as response:
            return response.status


@asynccontextmanager
async def guarded(more: str = "") -> AsyncIterator[Guarded]:
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(backend("app"))
        http = await stack.enter_async_context(http_authorizer())
        grpc = await stack.enter_async_context(grpc_authorizer())
        text = gateway(LISTENERS) + route("HTTPRoute", "shop", RULES) + service("app", app.port)
        text += service("asked", http.port) + service("far", http.port, "away") + more
        text += service("grpc", grpc.port, protocol="grpc")
        yield Guarded(await stack.enter_async_context(edge(text, 80)), app, http, grpc)


@pytest.mark.proves(
    "gateway_api.HTTPRouteFilter.externalAuth",
    "gateway_api.HTTPExternalAuthFilter.protocol",
    "gateway_api.HTTPExternalAuthFilter.backendRef",
    "gateway_api.HTTPExternalAuthFilter.http",
    "gateway_api.HTTPExternalAuthFilter.grpc",
    "gateway_api.HTTPExternalAuthFilter.forwardBody",
    "gateway_api.HTTPAuthConfig.path",
    "gateway_api.HTTPAuthConfig.allowedHeaders",
    "gateway_api.HTTPAuthConfig.allowedResponseHeaders",
    "gateway_api.GRPCAuthConfig.allowedHeaders",
    "gateway_api.ForwardBodyConfig.maxSize",
)
async def test_a_service_decides_whether_requests_of_a_rule_pass() -> None:
    async with guarded() as mesh:
        assert await mesh.get("/free") == 200
        assert not mesh.http.seen
        # Nothing but what is always told: a token in a header of its own is unknown.
        assert await mesh.get("/plain", x_token="good", authorization="mine") == 401
        assert mesh.http.last.path == "/plain"
        assert mesh.http.last.headers["authorization"] == "mine"
        assert "x-token" not in mesh.http.last.headers
        assert not mesh.app.seen[1:]
        # Without a list all of the answer is told the backend, but for what is about the answer itself.
        mesh.http.verdict, mesh.http.answers = True, {"x-who": "ann", "x-level": "7", "connection": "x-token"}
        assert await mesh.post("/plain", b"a body that is longer than the answer") == 200
        told = mesh.app.seen[-1].headers
        assert (told["x-who"], told["x-level"], told["x-token"]) == ("ann", "7", "good")
        assert (told["content-length"], "connection" in told) == ("37", False)
        assert mesh.http.last.headers["content-length"] == "0"
        mesh.http.verdict = None
        # With lists these, and a prefix for the path, and a body of this length at most.
        assert await mesh.get("/told?a=b", x_token="bad") == 401
        assert await mesh.post("/told?a=b", b"12345678") == 200
        asked = mesh.http.last
        assert (asked.path, asked.body, "user-agent" in asked.headers) == (
            "/check/told?a=b",
            b"12345678",
            False,
        )
        told = mesh.app.seen[-1].headers
        assert (told.get("x-who"), told.get("x-level")) == ("ann", None)
        assert await mesh.post("/told", b"123456789") == 413
        # Filters of a backend.
        assert (await mesh.get("/backend"), await mesh.get("/backend", x_token="good")) == (401, 200)
        # Over gRPC all headers, or these.
        assert (await mesh.get("/grpc"), await mesh.get("/grpc", x_token="good", x_more="1")) == (401, 200)
        assert mesh.grpc.last.headers["x-more"] == "1"
        assert mesh.app.seen[-1].headers["x-who"] == "ann"
        assert await mesh.get("/few", x_token="good", x_more="1") == 200
        assert "x-more" not in mesh.grpc.last.headers
        # Envoy cannot ask two of them.
        mesh.http.verdict = mesh.grpc.verdict = True
        assert await mesh.get("/both") == 500


async def test_where_nobody_can_be_asked_nothing_passes() -> None:
    async with guarded() as mesh:
        assert await mesh.get("/far", x_token="good") == 500
        assert mesh.edge.conditions("HTTPRoute", "shop")["ResolvedRefs"] == ("False", "RefNotPermitted")
        mesh.http.failing = mesh.grpc.failing = True
        assert [await mesh.get(path, x_token="good") for path in ("/told", "/grpc")] == [403, 403]
    async with guarded(GRANT) as mesh:
        mesh.http.verdict = True
        assert await mesh.get("/far") == 200
        assert mesh.edge.conditions("HTTPRoute", "shop")["ResolvedRefs"] == ("True", "ResolvedRefs")


async def test_calls_of_a_service_of_the_mesh_are_asked_about_too() -> None:
    rule = """
parentRefs: [{group: "", kind: Service, name: app}]
rules:
- filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP, http: {allowedHeaders: [x-token]},
    backendRef: {name: asked, port: 80}}}]
  backendRefs: [{name: app, port: 80}]
"""
    async with backend("app") as app, http_authorizer() as http:
        text = service("app", app.port) + service("asked", http.port)
        text += document("HTTPRoute", "app", yaml.safe_load(rule))
        async with application(text, "default", ("app", 80)) as client:
            assert (await client.call("app")).status == 401
            assert (await client.call("app", x_token="good")).backend == "app"
