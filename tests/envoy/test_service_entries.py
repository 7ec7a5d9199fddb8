"""Services that are described by hand: how each resolution finds them, and who they are."""

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from captured_client import captured_client
from dns_server import dns_server
from routing_envoy import backend
from tls_servers import WebAuthority, https_server

WEB = "web.example.com"


def document(kind: str, name: str, namespace: str = "default", **spec: Any) -> str:
    head = {"apiVersion": "networking.istio.io/v1", "kind": kind}
    made = {**head, "metadata": {"name": name, "namespace": namespace}, "spec": spec}
    return f"---\n{json.dumps(made)}\n"


def entry(
    namespace: str = "default", *, host: str = WEB, port: dict[str, Any] | None = None, **spec: Any
) -> str:
    """A ServiceEntry for one host and port."""
    described = {"number": 80, "name": "http", "protocol": "HTTP", **(port or {})}
    return document(
        "ServiceEntry", host.replace("*", "any"), namespace, hosts=[host], ports=[described], **spec
    )


def at(port: int, **more: Any) -> dict[str, Any]:
    """An endpoint of this machine."""
    return {"address": "127.0.0.1", "ports": {"http": port}, **more}


async def asked(port: int, host: str) -> tuple[int, str]:
    """The status, and the backend that answered."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/", headers={"Host": host}) as response,
    ):
        name = (await response.json())["backend"] if response.headers.get("x-from-app") else ""
        return response.status, name


@pytest.mark.proves(
    "networking.ServiceEntrySpec.hosts",
    "networking.ServiceEntrySpec.ports",
    "networking.ServiceEntrySpec.endpoints",
    "networking.ServiceEntrySpec.resolution",
    "networking.ServicePort.number",
    "networking.ServicePort.name",
    "networking.ServicePort.protocol",
    "networking.ServicePort.targetPort",
    "networking.WorkloadEntrySpec.address",
    "networking.WorkloadEntrySpec.ports",
    "networking.WorkloadEntrySpec.weight",
)
async def test_static_endpoints_share_by_weight_on_their_own_ports() -> None:
    async with backend("a") as a, backend("b") as b:
        endpoints = [{"address": "127.0.0.1", "weight": 3}, at(b.port, weight=1)]
        documents = entry(port={"targetPort": a.port}, resolution="STATIC", endpoints=endpoints)
        policy = {"loadBalancer": {"simple": "ROUND_ROBIN"}}
        documents += document("DestinationRule", "web", host=WEB, trafficPolicy=policy)
        async with captured_client(documents, "0.0.0.0_80") as (_, ports):
            names = [(await asked(ports["0.0.0.0_80"], WEB))[1] for _ in range(40)]
    assert (names.count("a"), names.count("b")) == (30, 10)


@pytest.mark.proves("networking.ServiceEntrySpec.resolution", "networking.WorkloadEntrySpec.address")
async def test_an_endpoint_may_be_a_unix_socket() -> None:
    async with backend("socket", unix=True) as made:
        endpoints = [{"address": f"unix://{made.path}"}]
        async with captured_client(entry(resolution="STATIC", endpoints=endpoints), "0.0.0.0_80") as (
            _,
            ports,
        ):
            assert await asked(ports["0.0.0.0_80"], WEB) == (200, "socket")


@pytest.mark.proves("networking.ServiceEntrySpec.resolution")
@pytest.mark.parametrize(("resolution", "least"), [("DNS", 2), ("DNS_ROUND_ROBIN", 1)])
async def test_a_name_is_resolved_by_dns(resolution: str, least: int) -> None:
    """Of the addresses behind a name, with DNS all are endpoints, and with DNS_ROUND_ROBIN the first is."""
    names = {"web.example.com": ("127.0.0.1", "127.0.0.2")}
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(backend("web"))
        resolver = await stack.enter_async_context(dns_server(names))
        spec = entry(port={"targetPort": made.port}, resolution=resolution)
        envoy, ports = await stack.enter_async_context(
            captured_client(spec, "0.0.0.0_80", typed_dns_resolver_config=resolver)
        )
        while (await asked(ports["0.0.0.0_80"], WEB))[1] != "web":
            pass
        stat = await envoy.admin("/stats?filter=web.example.com.membership_total$")
    assert stat.split() == ["cluster.outbound|80||web.example.com.membership_total:", str(least)]


@pytest.mark.proves("networking.ServiceEntrySpec.resolution", "networking.ServiceEntrySpec.hosts")
async def test_each_host_of_a_wildcard_is_resolved_when_it_is_called() -> None:
    names = {"one.example.com": ("127.0.0.1",), "two.sub.example.com": ("127.0.0.1",)}
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(backend("web"))
        resolver = await stack.enter_async_context(dns_server(names))
        spec = entry(host="*.example.com", port={"number": made.port}, resolution="DYNAMIC_DNS")
        listener = f"0.0.0.0_{made.port}"
        _, ports = await stack.enter_async_context(
            captured_client(spec, listener, typed_dns_resolver_config=resolver)
        )
        for name in names:
            assert await asked(ports[listener], f"{name}:{made.port}") == (200, "web")
        assert (await asked(ports[listener], f"none.example.com:{made.port}"))[0] == 503


@pytest.mark.proves("networking.ServiceEntrySpec.resolution")
async def test_a_tls_connection_goes_to_the_host_of_a_wildcard_that_it_names(tmp_path: Path) -> None:
    authority = WebAuthority()
    async with AsyncExitStack() as stack:
        issued = authority.issue("one.example.com")
        server = await stack.enter_async_context(https_server(tmp_path, issued))
        resolver = await stack.enter_async_context(dns_server({"one.example.com": ("127.0.0.1",)}))
        port = {"number": server.port, "name": "tls", "protocol": "TLS"}
        spec = entry(host="*.example.com", port=port, resolution="DYNAMIC_DNS")
        listener = f"0.0.0.0_{server.port}"
        _, ports = await stack.enter_async_context(
            captured_client(spec, listener, typed_dns_resolver_config=resolver)
        )
        trusted = authority.context()
        async with (
            aiohttp.ClientSession() as session,
            session.get(
                f"https://127.0.0.1:{ports[listener]}/", ssl=trusted, server_hostname="one.example.com"
            ) as response,
        ):
            assert response.status == 200
        assert server.asked_for == ["one.example.com"]


@pytest.mark.proves("networking.ServiceEntrySpec.workloadSelector", "model.NetworkingSelector.labels")
async def test_workloads_are_selected_by_their_labels() -> None:
    async with backend("chosen") as chosen, backend("other") as other:
        documents = (
            entry(resolution="STATIC", workloadSelector={"labels": {"app": "web"}})
            + document("WorkloadEntry", "chosen", **at(chosen.port, labels={"app": "web"}))
            + document("WorkloadEntry", "other", **at(other.port, labels={"app": "db"}))
            + document("WorkloadEntry", "far", "elsewhere", **at(other.port, labels={"app": "web"}))
        )
        async with captured_client(documents, "0.0.0.0_80") as (_, ports):
            for _ in range(10):
                assert await asked(ports["0.0.0.0_80"], WEB) == (200, "chosen")


@pytest.mark.proves("networking.ServiceEntrySpec.exportTo")
@pytest.mark.parametrize(("exported", "status"), [(["."], 502), (["default"], 200), (["*"], 200)])
async def test_an_entry_is_known_where_it_is_exported_to(exported: list[str], status: int) -> None:
    async with backend("web") as made:
        documents = (
            entry("other", resolution="STATIC", endpoints=[at(made.port)], exportTo=exported)
            + entry(host="own.example.com", resolution="STATIC", endpoints=[at(made.port)])
            + document("Sidecar", "closed", outboundTrafficPolicy={"mode": "REGISTRY_ONLY"})
        )
        async with captured_client(documents, "0.0.0.0_80") as (_, ports):
            assert (await asked(ports["0.0.0.0_80"], "own.example.com"))[0] == 200
            assert (await asked(ports["0.0.0.0_80"], WEB))[0] == status


@pytest.mark.proves("networking.ServiceEntrySpec.addresses")
async def test_an_address_is_another_name_for_a_service() -> None:
    async with backend("web") as made:
        spec = entry(addresses=["203.0.113.7"], resolution="STATIC", endpoints=[at(made.port)])
        async with captured_client(spec, "0.0.0.0_80") as (_, ports):
            assert await asked(ports["0.0.0.0_80"], "203.0.113.7") == (200, "web")


@pytest.mark.proves("networking.ServiceEntrySpec.subjectAltNames")
@pytest.mark.parametrize(("names", "status"), [(["web.internal"], 200), ([], 503)])
async def test_a_server_may_have_the_names_that_the_entry_lists(
    tmp_path: Path, names: list[str], status: int
) -> None:
    authority = WebAuthority()
    async with https_server(tmp_path, authority.issue("web.internal")) as server:
        tls = {"mode": "SIMPLE", "caCertificates": str(authority.write(tmp_path))}
        documents = entry(resolution="STATIC", endpoints=[at(server.port)], subjectAltNames=names)
        documents += document("DestinationRule", "web", host=WEB, trafficPolicy={"tls": tls})
        async with captured_client(documents, "0.0.0.0_80") as (_, ports):
            assert (await asked(ports["0.0.0.0_80"], WEB))[0] == status


@pytest.mark.proves("networking.ServiceEntrySpec.location", "networking.WorkloadEntrySpec.labels")
@pytest.mark.parametrize(("location", "status"), [("MESH_EXTERNAL", 200), ("MESH_INTERNAL", 503)])
async def test_mutual_tls_is_for_services_inside_the_mesh(location: str, status: int) -> None:
    """The backend speaks plain text, though its label says that a sidecar is there."""
    async with backend("web") as made:
        endpoint = at(made.port, labels={"security.istio.io/tlsMode": "istio"})
        spec = entry(resolution="STATIC", location=location, endpoints=[endpoint])
        async with captured_client(spec, "0.0.0.0_80") as (_, ports):
            assert (await asked(ports["0.0.0.0_80"], WEB))[0] == status
