"""A real Envoy forwards connections as TLSRoutes and TCPRoutes say."""

import asyncio
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from api_gateway import Edge, document, edge, gateway, route, secret, service, trusting
from tcp_servers import echo, naming, tcp_server
from tls_servers import WebAuthority, https_server


async def said(running: Edge, number: int, context: ssl.SSLContext | None = None, name: str = "") -> str:
    """What a server says first, over TLS to a server of this name if there is a context."""
    options = {"ssl": context, "server_hostname": name} if context is not None else {}
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.listen(number), **options)
        found = await asyncio.wait_for(reader.read(100), 10)
        writer.close()
    except (ConnectionError, ssl.SSLError):
        return ""
    return found.decode()


def to(*names: str, more: str = "") -> str:
    refs = ", ".join(f"{{name: {name}, port: 80{share}}}" for name, share in (_share(item) for item in names))
    return f"{{rules: [{{backendRefs: [{refs}]}}], {more}}}"


def _share(item: str) -> tuple[str, str]:
    name, _, weight = item.partition("=")
    return name, f", weight: {weight}" if weight else ""


@pytest.mark.proves(
    "gateway_api.TCPRouteSpec.parentRefs",
    "gateway_api.TCPRouteSpec.rules",
    "gateway_api.TCPRouteRule.backendRefs",
    "gateway_api.BackendRef.weight",
    "gateway_api.BackendRef.name",
    "gateway_api.BackendRef.port",
)
async def test_connections_go_to_the_backends_of_the_oldest_route() -> None:
    listeners = """
- {name: one, port: 9000, protocol: TCP}
- {name: two, port: 9001, protocol: TCP}
- {name: none, port: 9002, protocol: TCP}
"""
    async with AsyncExitStack() as stack:
        text = gateway(listeners)
        for name in ("a", "b"):
            port = await stack.enter_async_context(tcp_server(naming(name)))
            text += service(name, port, protocol="tcp")
        text += route(
            "TCPRoute", "first", to("a=3", "b=1", "absent=0", more="parentRefs: [{name: edge, port: 9000}]")
        )
        text += route("TCPRoute", "late", to("b", more="parentRefs: [{name: edge, sectionName: one}]"))
        text += route(
            "TCPRoute", "two", to("b", "absent", more="parentRefs: [{name: edge, sectionName: two}]")
        )
        running = await stack.enter_async_context(edge(text, 9000, 9001, 9002))
        shares = [await said(running, 9000) for _ in range(200)]
        broken = [await said(running, 9001) for _ in range(100)]
        assert await said(running, 9002) == ""
        assert running.conditions("TCPRoute", "two")["ResolvedRefs"] == ("False", "BackendNotFound")
    # A quarter of 200 has a standard deviation of 6, half of 100 one of 5; bounds of five.
    assert set(shares) == {"a", "b"}
    assert 20 <= shares.count("b") <= 80
    assert 25 <= broken.count("b") <= 75
    assert set(broken) == {"b", ""}


@pytest.mark.proves(
    "gateway_api.TLSRouteSpec.hostnames",
    "gateway_api.TLSRouteSpec.parentRefs",
    "gateway_api.TLSRouteSpec.rules",
    "gateway_api.TLSRouteRule.backendRefs",
    "gateway_api.ListenerTLSConfig.mode",
)
async def test_tls_is_left_alone_or_terminated_by_the_name_that_clients_ask_for(tmp_path: Path) -> None:
    listeners = """
- {name: pass, port: 443, protocol: TLS, hostname: "*.pass.org", tls: {mode: Passthrough}}
- {name: end, port: 443, protocol: TLS, hostname: "*.end.org", tls: {certificateRefs: [{name: cert}]}}
"""
    servers, edges = WebAuthority(), WebAuthority()
    async with AsyncExitStack() as stack:
        text = gateway(listeners)
        made = edges.issue("*.end.org")
        text += secret("cert", made.certificate, made.key)
        issued = servers.issue("*.pass.org")
        server = await stack.enter_async_context(https_server(tmp_path, issued))
        text += service("secure", server.port, protocol="tls")
        for name in ("one", "two"):
            port = await stack.enter_async_context(tcp_server(naming(name)))
            text += service(name, port, protocol="tcp")
        text += route("TLSRoute", "pass", to("secure", more="hostnames: [a.pass.org]"))
        text += route("TLSRoute", "one", to("one", more="hostnames: [one.end.org]"))
        text += route("TLSRoute", "two", to("two", more="hostnames: ['*.end.org', '*.elsewhere.org']"))
        text += route("TLSRoute", "misfit", to("two", more="hostnames: [c.elsewhere.org]"))
        running = await stack.enter_async_context(edge(text, 443))
        terminated = trusting(edges.certificate)
        assert await said(running, 443, terminated, "one.end.org") == "one"
        assert await said(running, 443, terminated, "b.end.org") == "two"
        assert (await running.send_tls(443, "a.pass.org", trusting(servers.certificate))).status == 200
        assert server.asked_for == ["a.pass.org"]
        for name in ("b.pass.org", "c.elsewhere.org"):
            assert await said(running, 443, trusting(servers.certificate), name) == ""
        assert running.conditions("TLSRoute", "misfit")["Accepted"] == ("False", "NoMatchingListenerHostname")


IDLE = """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db, namespace: default}
spec: {host: db, trafficPolicy: {connectionPool: {tcp: {idleTimeout: 300ms}}}}
"""


async def test_connections_are_treated_as_the_rule_of_their_backend_says() -> None:
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(tcp_server(echo))
        text = gateway("- {name: raw, port: 9000, protocol: TCP}") + service("db", port, protocol="tcp")
        text += route("TCPRoute", "db", to("db")) + IDLE
        running = await stack.enter_async_context(edge(text, 9000))
        reader, writer = await asyncio.open_connection("127.0.0.1", running.listen(9000))
        writer.write(b"hello")
        assert await reader.read(5) == b"hello"
        # Nobody speaks any more, and the gateway ends the connection.
        assert await asyncio.wait_for(reader.read(1), 10) == b""
        writer.close()


@pytest.mark.proves(
    "gateway_api.ReferenceGrantSpec.from",
    "gateway_api.ReferenceGrantSpec.to",
    "gateway_api.GrantFrom.namespace",
    "gateway_api.GrantFrom.kind",
    "gateway_api.GrantTo.kind",
    "gateway_api.GrantTo.name",
    "gateway_api.BackendObjectReference.namespace",
    "gateway_api.BackendRef.namespace",
)
async def test_another_namespaces_backends_are_reached_where_a_grant_says_so() -> None:
    group = "gateway.networking.k8s.io"

    def grant(kind: str, name: str) -> str:
        origin = {"group": group, "kind": kind, "namespace": "default"}
        target = {"group": "", "kind": "Service", "name": name}
        return document("ReferenceGrant", "grant", {"from": [origin], "to": [target]}, "prod")

    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(tcp_server(naming("db")))
        text = gateway("- {name: raw, port: 9000, protocol: TCP}") + service(
            "db", port, "prod", protocol="tcp"
        )
        text += route("TCPRoute", "db", "{rules: [{backendRefs: [{name: db, namespace: prod, port: 80}]}]}")
        for given, reached in (
            ("", ""), (grant("TCPRoute", "db"), "db"),
            (grant("TCPRoute", "other"), ""), (grant("TLSRoute", "db"), ""),
        ):  # fmt: skip
            async with edge(text + given, 9000) as running:
                assert await said(running, 9000) == reached
                reason = ("True", "ResolvedRefs") if reached else ("False", "RefNotPermitted")
                assert running.conditions("TCPRoute", "db")["ResolvedRefs"] == reason
