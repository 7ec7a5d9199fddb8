"""A real Envoy routes gRPC calls as GRPCRoutes of the Gateway API say."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
import yaml
from routing_envoy import cluster, http_route_host, route_listener, run_envoy

from marline.api.decode import admit
from marline.compile.gateway_api_grpc import as_http
from marline.compile.gateway_api_rules import RouteSet, backend_key, references
from marline.compile.routes_targets import Target

RULES = """
- matches: [{method: {service: demo.Greeter}}]
  backendRefs: [{name: general, port: 80}]
- matches: [{method: {service: demo.Greeter, method: Hello}}]
  backendRefs: [{name: hello, port: 80}]
- matches: [{method: {service: demo.Greeter, method: Hello}, headers: [{name: x-user, value: jason}]}]
  filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-via, value: route}]}}]
  backendRefs: [{name: jason, port: 80}]
- matches: [{method: {type: RegularExpression, service: "demo[.]B.*"}}]
  backendRefs: [{name: missing, port: 80}]
"""
HTTP2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}


def grpc_route(rules: str) -> RouteSet:
    obj = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GRPCRoute",
        "metadata": {"name": "routes", "namespace": "default"},
        "spec": {"parentRefs": [{"name": "gateway"}], "rules": yaml.safe_load(rules)},
    }
    made = as_http(admit(obj))
    backends = {
        backend_key(item): None if item.name == "missing" else Target(item.name)
        for item in references(made.spec)
    }
    return RouteSet(made, "http", 8080, tuple(backends.items()))


class AnyMethod(grpc.GenericRpcHandler):
    """Answers every unary call with a name."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()

    def service(self, handler_call_details: Any) -> Any:
        async def answer(_: bytes, __: object) -> bytes:
            return self._name

        return grpc.unary_unary_rpc_method_handler(answer)


@asynccontextmanager
async def grpc_backend(name: str) -> AsyncIterator[int]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((AnyMethod(name),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


@pytest.mark.proves(
    "gateway_api.GRPCRouteSpec.rules",
    "gateway_api.GRPCRouteRule.matches",
    "gateway_api.GRPCRouteRule.filters",
    "gateway_api.GRPCRouteRule.backendRefs",
    "gateway_api.GRPCRouteMatch.method",
    "gateway_api.GRPCRouteMatch.headers",
    "gateway_api.GRPCMethodMatch.type",
    "gateway_api.GRPCMethodMatch.service",
    "gateway_api.GRPCMethodMatch.method",
    "gateway_api.GRPCRouteFilter.type",
    "gateway_api.GRPCRouteFilter.responseHeaderModifier",
)
async def test_calls_are_routed_by_service_method_and_headers() -> None:
    async with AsyncExitStack() as stack:
        ports = {
            name: await stack.enter_async_context(grpc_backend(name))
            for name in ("general", "hello", "jason")
        }
        clusters = [
            {**cluster(name, [port]), "typed_extension_protocol_options": HTTP2}
            for name, port in ports.items()
        ]
        static = {"listeners": [route_listener([http_route_host(grpc_route(RULES))])], "clusters": clusters}
        envoy = await stack.enter_async_context(run_envoy(static))
        channel = await stack.enter_async_context(
            grpc.aio.insecure_channel(f"127.0.0.1:{envoy.ports['routes']}")
        )

        async def call(method: str, **headers: str) -> bytes:
            metadata = [(name.replace("_", "-"), value) for name, value in headers.items()]
            return bytes(await channel.unary_unary(method)(b"", metadata=metadata, timeout=10))

        assert await call("/demo.Greeter/Bye") == b"general"
        assert await call("/demo.Greeter/Hello") == b"hello"
        assert await call("/demo.Greeter/Hello", x_user="jason") == b"jason"
        for method, code in (
            ("/demo.Broken/Any", grpc.StatusCode.UNAVAILABLE),
            ("/demo.GreeterX/Hello", grpc.StatusCode.UNIMPLEMENTED),
            ("/other.Service/Any", grpc.StatusCode.UNIMPLEMENTED),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(method)
            assert refused.value.code() is code, method
