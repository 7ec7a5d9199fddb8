"""Real Envoys lead requests and connections to what the references of routes name, and to nothing else."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from api_gateway import GROUP, Edge, document, edge, gateway, route, service
from routing_envoy import backend
from tcp_servers import naming, tcp_server
from test_api_l4_routes import said
from test_routing_grpc_routes import grpc_backend

REFERENCES: dict[str, tuple[dict[str, Any], str, str]] = {
    "name": ({"name": "one"}, "one", "ResolvedRefs"),
    "other-name": ({"name": "two"}, "two", "ResolvedRefs"),
    "port": ({"name": "one", "port": 81}, "two", "ResolvedRefs"),
    "namespace": ({"name": "one", "namespace": "prod"}, "three", "ResolvedRefs"),
    "service": ({"group": "", "kind": "Service", "name": "one"}, "one", "ResolvedRefs"),
    "hostname": (
        {"group": "networking.istio.io", "kind": "Hostname", "name": "one.default.svc.cluster.local"},
        "one", "ResolvedRefs",
    ),
    "absent": ({"name": "absent"}, "", "BackendNotFound"),
    "absent-port": ({"name": "one", "port": 82}, "", "BackendNotFound"),
    "kind": ({"kind": "Pod", "name": "one"}, "", "InvalidKind"),
    "group": ({"group": "example.com", "name": "one"}, "", "InvalidKind"),
    "closed": ({"name": "one", "namespace": "closed"}, "", "RefNotPermitted"),
    "from-other-group": ({"name": "one", "namespace": "mistaken"}, "", "RefNotPermitted"),
    "to-other-group": ({"name": "one", "namespace": "mistaking"}, "", "RefNotPermitted"),
}  # fmt: skip
"""By a name: what a backendRef says besides `port: 80`, who answers, and the reason in the status."""


def services(kind: str, one: int, two: int, three: int) -> str:
    """`one` has the endpoint of `two` on its second port. Other namespaces have a `one`, too; the grant in
    `prod` lets routes refer to it, the others' are for resources of another group."""
    ports = f"[{{name: {kind}, port: 80}}, {{name: {kind}-more, port: 81}}]"
    text = service("two", two, protocol=kind)
    text += f"""
---
apiVersion: v1
kind: Service
metadata: {{name: one, namespace: default}}
spec: {{selector: {{app: one}}, ports: {ports}}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: one, namespace: default}}
spec: {{address: 127.0.0.1, labels: {{app: one}}, ports: {{{kind}: {one}, {kind}-more: {two}}}}}
"""
    for namespace, origin, target in (
        ("prod", GROUP, ""), ("mistaken", "example.com", ""), ("mistaking", GROUP, "example.com"),
    ):  # fmt: skip
        kinds = ("HTTPRoute", "GRPCRoute", "TCPRoute")
        trusted = [{"group": origin, "kind": item, "namespace": "default"} for item in kinds]
        grant = {"from": trusted, "to": [{"group": target, "kind": "Service"}]}
        text += document("ReferenceGrant", "grant", grant, namespace)
    return text + "".join(
        service("one", three, namespace, protocol=kind)
        for namespace in ("prod", "closed", "mistaken", "mistaking")
    )


def routes(kind: str) -> str:
    """For a host of its own each."""
    made = ""
    for name, (reference, _, _) in REFERENCES.items():
        rules = [{"backendRefs": [{"port": 80, **reference}]}]
        spec = {"parentRefs": [{"name": "edge"}], "hostnames": [f"{name}.org"], "rules": rules}
        made += document(kind, name, spec)
    return made


def told(running: Edge, kind: str) -> dict[str, str]:
    return {name: running.conditions(kind, name)["ResolvedRefs"][1] for name in REFERENCES}


HTTP = "- {name: http, port: 80, protocol: HTTP}"
REASONS = {name: reason for name, (_, _, reason) in REFERENCES.items()}


@pytest.mark.proves(
    "gateway_api.HTTPBackendRef.group",
    "gateway_api.HTTPBackendRef.kind",
    "gateway_api.HTTPBackendRef.name",
    "gateway_api.HTTPBackendRef.namespace",
    "gateway_api.HTTPBackendRef.port",
    "gateway_api.GrantFrom.group",
    "gateway_api.GrantTo.group",
)
async def test_requests_go_to_the_backend_that_an_http_route_names() -> None:
    async with AsyncExitStack() as stack:
        ports = [(await stack.enter_async_context(backend(name))).port for name in ("one", "two", "three")]
        running = await stack.enter_async_context(
            edge(services("http", *ports) + gateway(HTTP) + routes("HTTPRoute"), 80)
        )
        for name, (_, expected, _) in REFERENCES.items():
            reply = await running.send(80, f"{name}.org")
            assert (reply.backend, reply.status) == (expected, 200 if expected else 500), name
        assert told(running, "HTTPRoute") == REASONS


@pytest.mark.proves(
    "gateway_api.GRPCBackendRef.group",
    "gateway_api.GRPCBackendRef.kind",
    "gateway_api.GRPCBackendRef.name",
    "gateway_api.GRPCBackendRef.namespace",
    "gateway_api.GRPCBackendRef.port",
    "gateway_api.GRPCBackendRef.weight",
    "gateway_api.GRPCRouteSpec.hostnames",
    "gateway_api.GRPCRouteSpec.parentRefs",
)
async def test_calls_go_to_the_backend_that_a_grpc_route_names_for_their_host() -> None:
    shares = """
hostnames: [shares.org]
rules: [{backendRefs: [{name: one, port: 80, weight: 3}, {name: two, port: 80, weight: 1}]}]
"""
    async with AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(grpc_backend(name)) for name in ("one", "two", "three")]
        text = services("grpc", *ports) + gateway(HTTP) + routes("GRPCRoute")
        running = await stack.enter_async_context(edge(text + route("GRPCRoute", "shares", shares), 80))

        async def answers(host: str, count: int = 1) -> list[str]:
            options = (("grpc.default_authority", host),)
            async with grpc.aio.insecure_channel(f"127.0.0.1:{running.listen(80)}", options) as channel:
                return [await _answer(channel) for _ in range(count)]

        for name, (_, expected, _) in REFERENCES.items():
            assert await answers(f"{name}.org") == [expected or "UNAVAILABLE"], name
        assert await answers("elsewhere.org") == ["UNIMPLEMENTED"]
        assert told(running, "GRPCRoute") == REASONS
        # A quarter of 200 has a standard deviation of 6; bounds of five.
        assert 20 <= (await answers("shares.org", 200)).count("two") <= 80


async def _answer(channel: grpc.aio.Channel) -> str:
    """Who answers a call, or why nobody does."""
    try:
        return bytes(await channel.unary_unary("/demo.Greeter/Hello")(b"", timeout=10)).decode()
    except grpc.aio.AioRpcError as error:
        return error.code().name


@pytest.mark.proves("gateway_api.BackendRef.group", "gateway_api.BackendRef.kind")
async def test_connections_go_to_the_backend_that_a_route_names() -> None:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(tcp_server(naming(name))) for name in ("1", "2", "3")]
        text, listeners = services("tcp", *servers), []
        chosen = ("service", "hostname", "port", "kind", "group")
        for number, name in enumerate(chosen, 9000):
            listeners.append(f"- {{name: {name}, port: {number}, protocol: TCP}}")
            parent = {"name": "edge", "sectionName": name}
            rules = [{"backendRefs": [{"port": 80, **REFERENCES[name][0]}]}]
            text += document("TCPRoute", name, {"parentRefs": [parent], "rules": rules})
        numbers = range(9000, 9000 + len(chosen))
        running = await stack.enter_async_context(edge(text + gateway("\n".join(listeners)), *numbers))
        assert [await said(running, number) for number in numbers] == ["1", "1", "2", "", ""]
        for name in chosen:
            assert running.conditions("TCPRoute", name)["ResolvedRefs"][1] == REASONS[name]


@pytest.mark.proves(
    "gateway_api.BackendObjectReference.name",
    "gateway_api.BackendObjectReference.port",
    "gateway_api.BackendObjectReference.group",
    "gateway_api.BackendObjectReference.kind",
)
async def test_copies_go_to_what_a_mirror_names() -> None:
    async with AsyncExitStack() as stack:
        made = [await stack.enter_async_context(backend(name)) for name in ("one", "two", "three")]
        text = services("http", *(item.port for item in made)) + gateway(HTTP)
        for name in ("port", "namespace", "kind"):
            mirror = {"backendRef": {"port": 80, **REFERENCES[name][0]}}
            copied_to = {"type": "RequestMirror", "requestMirror": mirror}
            rules = [{"filters": [copied_to], "backendRefs": [{"name": "one", "port": 80}]}]
            spec = {"parentRefs": [{"name": "edge"}], "hostnames": [f"{name}.org"], "rules": rules}
            text += document("HTTPRoute", name, spec)
        running = await stack.enter_async_context(edge(text, 80))
        for name, copied in (("port", made[1]), ("namespace", made[2])):
            assert (await running.send(80, f"{name}.org", f"/{name}")).backend == "one"
            await asyncio.wait_for(copied.arrived.wait(), 10)
            assert [item.path for item in copied.seen] == [f"/{name}"]
        # One that leads nowhere takes nothing from the request itself.
        assert (await running.send(80, "kind.org")).backend == "one"
        assert running.conditions("HTTPRoute", "kind")["ResolvedRefs"] == ("False", "InvalidKind")
