"""Where a gateway listens and for whom: ports, addresses, protocols, hosts, selectors, shared ports."""

from pathlib import Path

import aiohttp
import pytest
from edge_certificates import Authority
from edge_mesh import (
    Refused,
    app,
    ask,
    edge,
    gateway,
    https_server,
    route,
    tcp_route,
    tls_secret,
    trusting,
)
from routing_envoy import backend
from static_mesh import free_port


def server(hosts: str, *, port: int = 80, name: str = "http", protocol: str = "HTTP", more: str = "") -> str:
    return f"  - {{port: {{number: {port}, name: {name}, protocol: {protocol}}}, hosts: [{hosts}]{more}}}\n"


@pytest.mark.proves(
    "networking.ServerPort.number", "networking.ServerPort.name", "networking.GatewaySpec.selector"
)
async def test_a_gateway_listens_for_the_servers_of_the_gateways_that_select_all_of_its_labels() -> None:
    async with backend("shop") as shop:
        own = gateway(server("'*'"))
        other = gateway(server("'*'", port=81, name="other"), name="other").replace(
            "{istio: ingressgateway}", "{istio: ingressgateway, zone: b}"
        )
        any_gateway = gateway(server("'*'", port=82, name="any"), name="any").replace(
            "  selector: {istio: ingressgateway}\n", ""
        )
        routed = route("*", "shop", gateways="edge, other, any")
        async with edge(app("shop", shop.port) + own + other + any_gateway + routed, 80, 81, 82) as made:
            for port in (80, 82):
                assert (await ask(made[port], "shop.example")).backend == "shop"
            with pytest.raises(Refused):
                await ask(made[81], "shop.example")


@pytest.mark.proves("networking.SidecarSpec.egress")
async def test_what_sidecars_may_call_by_default_says_nothing_of_gateways() -> None:
    """A Sidecar of the root namespace, without selector, is for all workloads but gateways."""
    narrow = """
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: istio-system}
spec: {egress: [{hosts: ["./*"]}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
"""
    async with backend("shop") as shop:
        text = app("shop", shop.port) + gateway(server("'*'")) + route("*", "shop") + narrow
        async with edge(text, 80) as made:
            assert (await ask(made[80], "any.example")).backend == "shop"


@pytest.mark.proves("networking.Server.bind")
async def test_a_server_may_bind_to_an_address_or_a_unix_socket_of_its_own(tmp_path: Path) -> None:
    socket, name = tmp_path / "edge.sock", f"marline-{free_port()}"
    async with backend("shop") as shop:
        servers = (
            server("one.example", more=", bind: 127.0.0.2")
            + server("two.example", port=0, name="file", more=f", bind: 'unix://{socket}'")
            + server("three.example", port=0, name="abstract", more=f", bind: 'unix://@{name}'")
        )
        async with edge(app("shop", shop.port) + gateway(servers) + route("*", "shop"), 80) as made:
            assert (await ask(made[80], "one.example", address="127.0.0.2")).backend == "shop"
            with pytest.raises(Refused):
                await ask(made[80], "one.example")
            assert (await ask(str(socket), "two.example")).backend == "shop"
            assert (await ask(f"\0{name}", "three.example")).backend == "shop"
            for other in (str(socket), f"\0{name}"):
                assert (await ask(other, "one.example")).status == 404


@pytest.mark.proves("networking.Server.hosts")
async def test_hosts_choose_virtual_services_by_name_and_by_namespace() -> None:
    async with backend("here") as here, backend("there") as there:
        text = app("here", here.port) + app("there", there.port)
        text += gateway(server('"other/*.shop.example", "./own.example", "*/any.example"'))
        text += route("a.shop.example", "there.default", namespace="other")
        text += route("b.shop.example", "here")
        text += route("own.example", "here") + route("any.example", "there.default", namespace="other")
        text += route("strange.example", "there.default", namespace="other")
        async with edge(text, 80) as made:
            answers = {
                host: (await ask(made[80], host)).backend
                for host in ("a.shop.example", "own.example", "any.example")
            }
            assert answers == {"a.shop.example": "there", "own.example": "here", "any.example": "there"}
            for host in ("b.shop.example", "strange.example", "shop.example"):
                assert (await ask(made[80], host)).status == 404


@pytest.mark.proves("networking.Server.hosts")
async def test_a_wildcard_of_a_server_and_one_of_a_virtual_service_meet_in_what_they_share() -> None:
    async with backend("wide") as wide, backend("narrow") as narrow:
        text = app("wide", wide.port) + app("narrow", narrow.port) + gateway(server('"*.example"'))
        text += route("*", "wide") + route("*.shop.example", "narrow")
        async with edge(text, 80) as made:
            assert (await ask(made[80], "a.example")).backend == "wide"
            assert (await ask(made[80], "a.shop.example")).backend == "narrow"
            for host in ("example", "elsewhere.org"):
                assert (await ask(made[80], host)).status == 404


async def test_neither_the_port_in_a_host_nor_the_form_of_the_target_matters() -> None:
    async with backend("shop") as shop:
        text = app("shop", shop.port) + gateway(server("shop.example")) + route("shop.example", "shop")
        async with edge(text, 80) as made:
            assert (await ask(made[80], "shop.example:8080")).backend == "shop"
            assert (await ask(made[80], "SHOP.example")).backend == "shop"
            absolute = await ask(made[80], "other.example", target="http://shop.example/a")
            assert (absolute.backend, absolute.body["path"]) == ("shop", "/a")
            assert (await ask(made[80], "shop.example", target="http://other.example/")).status == 404


@pytest.mark.proves("networking.ServerTLSSettings.httpsRedirect")
async def test_https_redirect_answers_every_host_of_its_server_with_301() -> None:
    async with backend("shop") as shop:
        servers = server("shop.example, bare.example", more=", tls: {httpsRedirect: true}")
        servers += server("plain.example", name="plain")
        text = app("shop", shop.port) + gateway(servers)
        text += route("shop.example", "shop") + route("plain.example", "shop")
        async with edge(text, 80) as made:
            for host in ("shop.example", "bare.example"):
                moved = await ask(made[80], host, target="/cart")
                assert (moved.status, moved.headers["location"]) == (301, f"https://{host}/cart")
            assert (await ask(made[80], "plain.example")).backend == "shop"


@pytest.mark.proves("networking.ServerPort.protocol")
@pytest.mark.parametrize("protocol", ["TCP", "MONGO", "mysql", "REDIS"])
async def test_bytes_of_opaque_protocols_are_forwarded(protocol: str) -> None:
    async with backend("db") as db:
        servers = server("'*'", port=9000, name="db", protocol=protocol)
        text = app("db", db.port, protocol="tcp") + gateway(servers) + tcp_route("db", port=9000)
        async with edge(text, 9000) as made:
            answer = await ask(made[9000], "any.example")
            assert (answer.backend, "x-request-id" in answer.body["headers"]) == ("db", False)


@pytest.mark.proves("networking.ServerPort.protocol")
@pytest.mark.parametrize("protocol", ["HTTP", "http2", "GRPC"])
async def test_requests_of_every_http_protocol_are_routed(protocol: str) -> None:
    async with backend("shop") as shop:
        text = app("shop", shop.port) + gateway(server("'*'", protocol=protocol)) + route("*", "shop")
        async with edge(text, 80) as made:
            answer = await ask(made[80], "shop.example")
            assert (answer.backend, "x-request-id" in answer.body["headers"]) == ("shop", True)


@pytest.mark.proves("networking.ServerPort.protocol")
async def test_grpc_web_becomes_grpc() -> None:
    async with backend("greeter") as greeter:
        text = app("greeter", greeter.port) + gateway(server("'*'", protocol="GRPC-WEB"))
        async with edge(text + route("*", "greeter"), 80) as made, aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{made[80]}/helloworld.Greeter/SayHello"
            async with session.post(
                url, headers={"content-type": "application/grpc-web+proto"}, data=b"\0" * 5
            ):
                (received,) = greeter.seen
        assert received.headers["content-type"] == "application/grpc"


@pytest.mark.proves("networking.Server.name")
async def test_a_servers_name_begins_the_names_of_its_statistics() -> None:
    authority = Authority("test")
    secure = https_server("shop.example", "mode: SIMPLE, credentialName: shop").rstrip("}\n")
    servers = server("plain.example", more=", name: entrance") + secure + "}, name: vault}\n"
    async with backend("shop") as shop:
        text = app("shop", shop.port) + gateway(servers) + tls_secret("shop", authority.issue("shop.example"))
        async with edge(text + route("*", "shop"), 80, 443) as made:
            await ask(made[80], "plain.example")
            await ask(made[443], "shop.example", trusting(authority.pem))
            stats = await made.envoy.stats("http.*downstream_rq_total")
        counted = {name.split(".")[1]: value for name, value in stats.items()}
        assert (counted["entrance"], counted["vault"]) == (1, 1)


@pytest.mark.proves("networking.GatewaySpec.servers")
@pytest.mark.parametrize("order", ["as they were made", "the other way round"])
async def test_of_two_gateways_the_older_keeps_what_both_want(order: str) -> None:
    authority = Authority("test")
    old, young = (
        gateway(https_server("shop.example", f"mode: SIMPLE, credentialName: {name}"), name=name).replace(
            "metadata: {", f'metadata: {{creationTimestamp: "{made}", '
        )
        for name, made in (("old", "2025-01-01T00:00:00Z"), ("young", "2025-06-01T00:00:00Z"))
    )
    plain = server("'*'", port=443, name="plain")
    late = gateway(plain, name="late")
    text = tls_secret("old", authority.issue("shop.example")) + tls_secret(
        "young", Authority("other").issue("shop.example")
    )
    text += route("*", "shop", gateways="old, young, late")
    parts = [old, young, late]
    if order != "as they were made":
        parts.reverse()
    async with backend("shop") as shop:
        async with edge(app("shop", shop.port) + text + "".join(parts), 443) as made:
            assert (await ask(made[443], "shop.example", trusting(authority.pem))).backend == "shop"
            with pytest.raises(Refused):
                await ask(made[443], "shop.example")
        assert made.plane.heard.rejections == []
