"""A real Envoy forwards datagrams as UDPRoutes say."""

from contextlib import AsyncExitStack, closing

import pytest
import yaml
from api_gateway import Edge, edge, gateway, route, service
from tcp_servers import naming, tcp_server
from test_api_l4_routes import said, to
from udp_servers import SILENCE_SECONDS, UdpClient, ask, udp_server


def datagrams(name: str, *ports: int, number: int = 80, **spec: str) -> str:
    """A Service with a UDP port, and endpoints on this machine."""
    selector = {"app": name}
    metadata = {"name": name, "namespace": "default"}
    port = {"name": "udp-data", "port": number, "protocol": "UDP"}
    body = {"selector": selector, "ports": [port], **spec}
    made = [{"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": body}]
    for at in ports:
        entry = {"address": "127.0.0.1", "ports": {"udp-data": at}, "labels": selector}
        head = {"metadata": {**metadata, "name": f"{name}-{at}"}}
        made.append({"apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry", **head, "spec": entry})
    return "---\n" + yaml.safe_dump_all(made)


def listener_told(running: Edge, name: str) -> dict[str, str]:
    """Kinds of routes that a listener can have, how many it has, and its conditions."""
    status = next(status for ref, status in running.told() if ref.kind == "Gateway")
    entry = next(item for item in status["listeners"] if item["name"] == name)
    conditions = {item["type"]: item["reason"] for item in entry["conditions"]}
    kinds = " ".join(item["kind"] for item in entry["supportedKinds"])
    return {"kinds": kinds, "routes": str(entry["attachedRoutes"]), **conditions}


@pytest.mark.proves(
    "gateway_api.UDPRouteSpec.parentRefs",
    "gateway_api.UDPRouteSpec.rules",
    "gateway_api.UDPRouteRule.backendRefs",
    "core.ServicePort.protocol",
)
async def test_datagrams_reach_the_backend_and_answers_come_back() -> None:
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(udp_server("dns"))
        text = gateway("- {name: dns, port: 53, protocol: UDP}") + datagrams("dns", port, number=53)
        spec = "{rules: [{backendRefs: [{name: dns, port: 53}]}]}"
        running = await stack.enter_async_context(edge(text + route("UDPRoute", "dns", spec), 53))
        assert await ask(running.listen(53), "who is it") == "dns:who is it"
        told = running.conditions("UDPRoute", "dns")
        assert told["Accepted"] == ("True", "Accepted")
        assert told["ResolvedRefs"] == ("True", "ResolvedRefs")
        listener = listener_told(running, "dns")
        assert (listener["kinds"], listener["routes"]) == ("UDPRoute", "1")
        assert (listener["Accepted"], listener["Programmed"]) == ("Accepted", "Programmed")


async def test_a_source_stays_at_one_backend_and_sources_are_shared_out_by_weight() -> None:
    async with AsyncExitStack() as stack:
        text = gateway("- {name: one, port: 9000, protocol: UDP}\n- {name: two, port: 9001, protocol: UDP}")
        for name in ("a", "b"):
            text += datagrams(name, await stack.enter_async_context(udp_server(name)))
        text += route(
            "UDPRoute", "one", to("a=3", "b=1", more="parentRefs: [{name: edge, sectionName: one}]")
        )
        text += route("UDPRoute", "two", to("b", "absent", more="parentRefs: [{name: edge, port: 9001}]"))
        running = await stack.enter_async_context(edge(text, 9000, 9001))
        shares = [(await ask(running.listen(9000)))[:1] for _ in range(200)]
        broken = [(await ask(running.listen(9001), patience=SILENCE_SECONDS))[:1] for _ in range(30)]
        with closing(UdpClient()) as client:
            again = {await client.ask(running.listen(9000), "again") for _ in range(20)}
        assert running.conditions("UDPRoute", "two")["ResolvedRefs"] == ("False", "BackendNotFound")
    # A quarter of 200 has a standard deviation of 6; bounds of five. All or nothing of 30: 1 in 10⁹.
    assert set(shares) == {"a", "b"}
    assert 20 <= shares.count("b") <= 80
    assert set(broken) == {"b", ""}
    assert len(again) == 1


async def test_the_oldest_route_has_a_listener_and_one_without_routes_is_silent() -> None:
    listeners = "- {name: one, port: 9000, protocol: UDP}\n- {name: none, port: 9001, protocol: UDP}"
    async with AsyncExitStack() as stack:
        text = gateway(listeners)
        for name in ("a", "b"):
            text += datagrams(name, await stack.enter_async_context(udp_server(name)))
            text += route("UDPRoute", name, to(name, more="parentRefs: [{name: edge, sectionName: one}]"))
        running = await stack.enter_async_context(edge(text, 9000, 9001))
        assert {await ask(running.listen(9000)) for _ in range(10)} == {"a:hello"}
        assert await ask(running.listen(9001), patience=SILENCE_SECONDS) == ""
        assert listener_told(running, "one")["routes"] == "2"


async def test_connections_and_datagrams_share_the_number_of_a_port() -> None:
    listeners = "- {name: tcp, port: 53, protocol: TCP}\n- {name: udp, port: 53, protocol: UDP}"
    both = """
---
apiVersion: v1
kind: Service
metadata: {name: dns, namespace: default}
spec:
  selector: {app: dns}
  ports: [{name: tcp-dns, port: 80}, {name: udp-dns, port: 80, protocol: UDP}]
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: dns, namespace: default}
spec: {address: 127.0.0.1, labels: {app: dns}, ports: {tcp-dns: %d, udp-dns: %d}}
"""
    async with AsyncExitStack() as stack:
        tcp = await stack.enter_async_context(tcp_server(naming("tcp")))
        udp = await stack.enter_async_context(udp_server("udp"))
        text = gateway(listeners) + both % (tcp, udp)
        text += route("TCPRoute", "tcp", to("dns")) + route("UDPRoute", "udp", to("dns"))
        running = await stack.enter_async_context(edge(text, 53))
        assert await said(running, 53) == "tcp"
        assert await ask(running.listen(53)) == "udp:hello"
        for name in ("tcp", "udp"):
            assert listener_told(running, name)["Conflicted"] == "NoConflicts"


async def test_a_route_leads_to_no_port_of_the_other_transport() -> None:
    listeners = "- {name: tcp, port: 9000, protocol: TCP}\n- {name: udp, port: 9000, protocol: UDP}"
    async with AsyncExitStack() as stack:
        tcp = await stack.enter_async_context(tcp_server(naming("tcp")))
        udp = await stack.enter_async_context(udp_server("udp"))
        text = gateway(listeners) + service("tcp", tcp, protocol="tcp") + datagrams("udp", udp)
        text += route("TCPRoute", "to-udp", to("udp")) + route("UDPRoute", "to-tcp", to("tcp"))
        running = await stack.enter_async_context(edge(text, 9000))
        assert await said(running, 9000) == ""
        assert await ask(running.listen(9000), patience=SILENCE_SECONDS) == ""
        for kind, name in (("TCPRoute", "to-udp"), ("UDPRoute", "to-tcp")):
            told = running.conditions(kind, name)
            assert told["Accepted"] == ("True", "Accepted")
            assert told["ResolvedRefs"] == ("False", "UnsupportedProtocol")


@pytest.mark.proves("core.ServiceSpec.sessionAffinity")
async def test_a_clients_datagrams_go_to_one_endpoint_where_the_service_wants_it() -> None:
    async with AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(udp_server(str(index))) for index in range(4)]
        text = gateway("- {name: one, port: 9000, protocol: UDP}\n- {name: two, port: 9001, protocol: UDP}")
        text += datagrams("free", *ports) + datagrams("bound", *ports, sessionAffinity="ClientIP")
        for number, name in ((9000, "free"), (9001, "bound")):
            text += route("UDPRoute", name, to(name, more=f"parentRefs: [{{name: edge, port: {number}}}]"))
        running = await stack.enter_async_context(edge(text, 9000, 9001))
        for source in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            assert len({await ask(running.listen(9001), source=source) for _ in range(10)}) == 1
        assert len({await ask(running.listen(9000)) for _ in range(40)}) > 1
