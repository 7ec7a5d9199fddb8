"""Connections that go to the address which the application chose itself."""

import asyncio
import json
from contextlib import closing

import pytest
from captured_client import captured_client
from routing_envoy import backend
from static_mesh import free_port
from test_service_entries import WEB, at, document, entry


async def sent_to(listener: int, address: tuple[str, int], host: str) -> str:
    """The backend that answers a request for a host, on a connection that the application made to this
    address; "" for an answer of the proxy's."""
    reader, writer = await asyncio.open_connection("127.0.0.1", listener)
    with closing(writer):
        writer.write(f"PROXY TCP4 127.0.0.1 {address[0]} 40000 {address[1]}\r\n".encode())
        writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await asyncio.wait_for(reader.read(), 20)).partition(b"\r\n\r\n")
    return str(json.loads(body)["backend"]) if b"x-from-app" in head.lower() else ""


@pytest.mark.proves("networking.ServiceEntrySpec.resolution", "networking.ServiceEntrySpec.hosts")
@pytest.mark.parametrize("host", [WEB, "*.example.com"])
async def test_without_resolution_the_chosen_address_is_called(host: str) -> None:
    async with backend("one") as one, backend("two") as two:
        spec = entry(host=host, resolution="NONE")
        async with captured_client(spec, "0.0.0.0_80", announced=True) as (_, ports):
            for made in (one, two):
                assert await sent_to(ports["0.0.0.0_80"], ("127.0.0.1", made.port), WEB) == made.name


@pytest.mark.proves("networking.LoadBalancerSettings.simple")
@pytest.mark.parametrize(("balancing", "answering"), [("PASSTHROUGH", "chosen"), ("RANDOM", "endpoint")])
async def test_a_rule_may_leave_the_choice_to_the_application(balancing: str, answering: str) -> None:
    async with backend("chosen") as chosen, backend("endpoint") as endpoint:
        policy = {"loadBalancer": {"simple": balancing}}
        documents = entry(resolution="STATIC", endpoints=[at(endpoint.port)])
        documents += document("DestinationRule", "web", host=WEB, trafficPolicy=policy)
        async with captured_client(documents, "0.0.0.0_80", announced=True) as (_, ports):
            assert await sent_to(ports["0.0.0.0_80"], ("127.0.0.1", chosen.port), WEB) == answering


async def test_unknown_hosts_are_passed_on_to_the_chosen_address() -> None:
    documents = entry(resolution="STATIC", endpoints=[at(free_port())])
    async with (
        backend("unknown") as made,
        captured_client(documents, "0.0.0.0_80", announced=True) as (_, ports),
    ):
        host = "other.example.org"
        assert await sent_to(ports["0.0.0.0_80"], ("127.0.0.1", made.port), host) == "unknown"


@pytest.mark.proves("core.ServiceSpec.clusterIP")
async def test_an_endpoint_of_a_headless_service_is_called_by_its_own_address() -> None:
    headless = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: None, selector: {app: web}, ports: [{name: http, port: 80}]}
"""
    async with backend("one") as one, backend("two") as two:
        entries = "".join(
            document("WorkloadEntry", made.name, **at(made.port, labels={"app": "web"}))
            for made in (one, two)
        )
        async with captured_client(f"{headless}{entries}", "0.0.0.0_80", announced=True) as (_, ports):
            for made in (one, two):
                listener, address = ports["0.0.0.0_80"], ("127.0.0.1", made.port)
                assert await sent_to(listener, address, "web.default") == made.name
