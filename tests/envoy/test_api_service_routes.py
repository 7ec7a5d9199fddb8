"""Real Envoys route calls of a service as the routes that are attached to it say (GAMMA)."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
import yaml
from api_gateway import document, service
from routing_envoy import Reply, RoutedClient, backend
from static_mesh import envoy_for, free_port, snapshot_of
from tcp_servers import naming, tcp_server

from marline.compile.gateway_api_status import statuses
from marline.mesh.model import Capture, Proxy, Role, Upstream, Workload

VIRTUAL_SERVICE = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: prod}
spec: {hosts: [web], http: [{directResponse: {status: 418}}]}
"""

MORE_PORTS = """
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: prod}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80}, {name: http-more, port: 81, targetPort: http}]
"""


class Application:
    """It calls services of `prod` through its sidecar's listeners."""

    def __init__(self, session: aiohttp.ClientSession, ports: dict[tuple[str, int], int]) -> None:
        self._session, self._ports = session, ports

    async def call(self, host: str, path: str = "/", port: int = 80, **headers: str) -> Reply:
        return await RoutedClient(self._session, self._ports[host, port]).send(path, Host=host, **headers)

    async def said(self, host: str, port: int) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._ports[host, port])
        found = await asyncio.wait_for(reader.read(100), 10)
        writer.close()
        return found.decode()


@asynccontextmanager
async def application(text: str, namespace: str, *upstreams: tuple[str, int]) -> AsyncIterator[Application]:
    ports = {upstream: free_port() for upstream in upstreams}
    declared = tuple(Upstream(host, number, listen) for (host, number), listen in ports.items())
    workload = Workload(namespace, "client", upstreams=declared)
    proxy = Proxy("client", Role.SIDECAR, Capture.EXPLICIT, (workload,))
    async with envoy_for(snapshot_of(text), proxy), aiohttp.ClientSession() as session:
        yield Application(session, ports)


WEB = {"group": "", "kind": "Service", "name": "web", "namespace": "prod"}


def attached(
    kind: str, name: str, rules: str, namespace: str = "prod", parent: Mapping[str, object] | None = None
) -> str:
    """A route of the Service `web` in `prod`, or of what `parent` says instead."""
    spec = {"parentRefs": [{**WEB, **(parent or {})}], "rules": yaml.safe_load(rules)}
    return document(kind, name, spec, namespace)


def reasons(text: str) -> dict[str, tuple[str, str]]:
    found = {}
    for ref, status in statuses(snapshot_of(text), "2026-01-01T00:00:00Z"):
        for item in status.get("parents", [{"conditions": []}])[0]["conditions"]:
            if item["type"] == "Accepted":
                found[ref.name] = (item["status"], item["reason"])
    return found


@pytest.mark.proves(
    "gateway_api.ParentReference.kind",
    "gateway_api.ParentReference.group",
    "gateway_api.ParentReference.namespace",
    "gateway_api.HTTPRouteSpec.rules",
    "gateway_api.HTTPRouteRule.matches",
    "gateway_api.HTTPRouteRule.backendRefs",
)
async def test_a_producers_route_counts_for_all_and_a_consumers_for_its_namespace() -> None:
    producer = """
- matches: [{path: {value: /v2}}]
  filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-via, value: producer}]}}]
  backendRefs: [{name: two, port: 80}]
"""
    consumer = "[{backendRefs: [{name: web, namespace: prod, port: 80}]}]"
    grant = {
        "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "shop"}],
        "to": [{"group": "", "kind": "Service"}],
    }
    async with AsyncExitStack() as stack:
        web = await stack.enter_async_context(backend("web"))
        two = await stack.enter_async_context(backend("two"))
        text = service("web", web.port, "prod") + service("two", two.port, "prod") + VIRTUAL_SERVICE
        text += attached("HTTPRoute", "producer", producer)
        text += attached("HTTPRoute", "consumer", consumer, "shop")
        text += document("ReferenceGrant", "grant", grant, "prod")
        async with application(text, "prod", ("web", 80), ("two", 80)) as app:
            reply = await app.call("web", "/v2")
            assert (reply.backend, reply.headers["x-via"]) == ("two", "producer")
            # The VirtualService does not count, and what no rule is for is not found.
            assert (await app.call("web", "/")).status == 404
            assert (await app.call("two", "/")).backend == "two"
        async with application(text, "dev", ("web.prod", 80)) as app:
            assert (await app.call("web.prod", "/v2")).backend == "two"
        async with application(text, "shop", ("web.prod", 80)) as app:
            for path in ("/v2", "/"):
                assert (await app.call("web.prod", path)).backend == "web"
        assert reasons(text) == {"producer": ("True", "Accepted"), "consumer": ("True", "Accepted")}


@pytest.mark.proves("gateway_api.ParentReference.port", "gateway_api.ParentReference.sectionName")
async def test_a_route_may_be_for_one_port_of_a_service() -> None:
    async with AsyncExitStack() as stack:
        web = await stack.enter_async_context(backend("web"))
        two = await stack.enter_async_context(backend("two"))
        text = service("web", web.port, "prod") + service("two", two.port, "prod")
        text = text.replace(
            "- name: http\n    port: 80",
            "- {name: http, port: 80}\n  - {name: http-more, port: 81, targetPort: http}",
            1,
        )
        to_two = "[{backendRefs: [{name: two, port: 80}]}]"
        for parent in ({"port": 81}, {"sectionName": "http-more"}):
            routed = text + attached("HTTPRoute", "it", to_two, parent=parent)
            async with application(routed, "prod", ("web", 80), ("web", 81)) as app:
                assert (await app.call("web", port=80)).backend == "web"
                assert (await app.call("web", port=81)).backend == "two"
        told = reasons(text + attached("HTTPRoute", "it", to_two, parent={"port": 82}))
        assert told == {"it": ("False", "NoMatchingParent")}


@pytest.mark.proves("gateway_api.BackendObjectReference.kind", "gateway_api.BackendObjectReference.group")
async def test_hosts_of_service_entries_are_parents_and_backends_too() -> None:
    entry = """
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside, namespace: prod}
spec:
  hosts: [HOST]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, ports: {http: PORT}}]
"""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(backend("one"))
        two = await stack.enter_async_context(backend("two"))
        text = entry.replace("HOST", "one.example").replace("PORT", str(one.port))
        text += (
            entry.replace("HOST", "two.example").replace("PORT", str(two.port)).replace("outside", "other")
        )
        rules = "[{backendRefs: [{group: networking.istio.io, kind: Hostname, name: two.example, port: 80}]}]"
        for kind, name in (("ServiceEntry", "outside"), ("Hostname", "one.example")):
            parent = {"group": "networking.istio.io", "kind": kind, "name": name}
            routed = text + attached("HTTPRoute", "it", rules, parent=parent)
            async with application(routed, "prod", ("one.example", 80)) as app:
                assert (await app.call("one.example")).backend == "two"
            assert reasons(routed) == {"it": ("True", "Accepted")}


@pytest.mark.proves("gateway_api.TCPRouteSpec.parentRefs", "gateway_api.TCPRouteRule.backendRefs")
async def test_connections_of_a_service_go_where_its_tcp_route_says() -> None:
    async with AsyncExitStack() as stack:
        text = ""
        for name in ("web", "two"):
            port = await stack.enter_async_context(tcp_server(naming(name)))
            text += service(name, port, "prod", protocol="tcp", number=9000)
        async with application(text, "prod", ("web", 9000)) as app:
            assert await app.said("web", 9000) == "web"
        text += attached("TCPRoute", "it", "[{backendRefs: [{name: two, port: 9000}]}]")
        async with application(text, "prod", ("web", 9000)) as app:
            assert await app.said("web", 9000) == "two"


async def test_a_consumers_route_of_requests_leaves_the_producers_of_connections() -> None:
    both = """
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: prod}
spec: {selector: {app: web}, ports: [{name: http, port: 80}, {name: tcp, port: 9000}]}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: web, namespace: prod}
spec: {address: 127.0.0.1, labels: {app: web}, ports: {http: %d, tcp: %d}}
"""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(backend("web"))
        tcp = {
            name: await stack.enter_async_context(tcp_server(naming(name))) for name in ("web", "two", "own")
        }
        text = both % (http.port, tcp["web"])
        for name, namespace in (("two", "prod"), ("own", "shop")):
            text += service(name, tcp[name], namespace, protocol="tcp", number=9000)
        text += attached("TCPRoute", "producer", "[{backendRefs: [{name: two, port: 9000}]}]")
        refused = "[{matches: [{path: {value: /a}}], backendRefs: [{name: web, namespace: prod, port: 80}]}]"
        text += attached("HTTPRoute", "consumer", refused, "shop")
        upstreams = (("web.prod", 80), ("web.prod", 9000))
        async with application(text, "shop", *upstreams) as app:
            assert [(await app.call("web.prod", path)).status for path in ("/a", "/b")] == [200, 404]
            assert await app.said("web.prod", 9000) == "two"
        text += attached("TCPRoute", "mine", "[{backendRefs: [{name: own, port: 9000}]}]", "shop")
        async with application(text, "shop", *upstreams) as app:
            assert await app.said("web.prod", 9000) == "own"


async def test_routes_that_cannot_be_attached_say_why() -> None:
    rules = "[{backendRefs: [{name: web, port: 80}]}]"
    text = service("web", 1, "prod")
    told = reasons(
        text
        + attached("HTTPRoute", "absent", rules, parent={"name": "absent"})
        + attached("HTTPRoute", "older", rules)
        + attached("GRPCRoute", "younger", rules)
        + attached("UDPRoute", "udp", rules)
    )
    assert told == {
        "absent": ("False", "NoMatchingParent"),
        "older": ("True", "Accepted"),
        "younger": ("False", "HostnameConflict"),
        "udp": ("False", "UnsupportedValue"),
    }
