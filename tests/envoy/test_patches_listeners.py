"""EnvoyFilters change listeners, their filters and their filter chains in running Envoys."""

import asyncio

import pytest
from patched_mesh import (
    TYPE,
    Patched,
    answering,
    direct_response,
    http_listener,
    manager,
    patch,
    patched_sidecar,
)
from static_mesh import free_port

INBOUND = {"name": "virtualInbound"}
PROXY_PROTOCOL = f"{TYPE}.filters.listener.proxy_protocol.v3.ProxyProtocol"
SAYING = f"{TYPE}.filters.network.direct_response.v3.Config"
EVERYTHING = [{"name": "all", "domains": ["*"], "routes": [direct_response("mine")]}]


def saying(text: str) -> dict[str, object]:
    """A network filter that says this to whoever connects, and hangs up."""
    return {"name": "saying", "typed_config": {"@type": SAYING, "response": {"inline_string": text}}}


def access(action: str) -> dict[str, object]:
    """A network filter, named by what it does to all connections."""
    everyone = {"permissions": [{"any": True}], "principals": [{"any": True}]}
    rules = {"action": action, "policies": {"everyone": everyone}}
    config = {"@type": f"{TYPE}.filters.network.rbac.v3.RBAC", "stat_prefix": "patched", "rules": rules}
    return {"name": action, "typed_config": config}


async def heard(mesh: Patched, side: str) -> str:
    """What a side says before it is asked anything."""
    reader, writer = await asyncio.open_connection("127.0.0.1", mesh.ports[side])
    async with asyncio.timeout(5):
        text = await reader.read()
    writer.close()
    return text.decode()


async def test_the_connection_manager_is_merged_into() -> None:
    config = {
        "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "via": "patched",
        "stream_idle_timeout": "0.3s",
    }
    async with patched_sidecar() as mesh:
        change = patch("NETWORK_FILTER", "MERGE", {"typed_config": config}, listener=manager(**INBOUND))
        await mesh.apply(change)
        await mesh.until("inbound", lambda answer: answer.headers.get("via") == "patched")
        mesh.app.delay = 5.0
        assert (await mesh.ask("inbound")).status == 504
        assert "via" not in (await mesh.ask("outbound")).headers


@pytest.mark.parametrize("operation", ["INSERT_BEFORE", "INSERT_FIRST", "ADD"])
async def test_a_network_filter_is_put_in_front_of_the_connection_manager(operation: str) -> None:
    async with patched_sidecar() as mesh:
        await mesh.until("inbound", lambda answer: answer.status == 200)
        where = manager(**INBOUND) if operation == "INSERT_BEFORE" else INBOUND
        await mesh.apply(patch("NETWORK_FILTER", operation, access("DENY"), listener=where))
        await mesh.until("inbound", lambda answer: not answer.status)
        assert (await mesh.ask("outbound")).status == 200


async def test_network_filters_are_replaced_and_those_of_other_patches_found_by_name() -> None:
    first = patch("NETWORK_FILTER", "INSERT_FIRST", access("ALLOW"), listener=INBOUND)
    there = {**INBOUND, "filterChain": {"filter": {"name": "ALLOW"}}}
    after = patch("NETWORK_FILTER", "INSERT_AFTER", access("DENY"), listener=there)
    denying = {**INBOUND, "filterChain": {"filter": {"name": "DENY"}}}
    gone = patch("NETWORK_FILTER", "REMOVE", listener=denying)
    async with patched_sidecar() as mesh:
        await mesh.apply(first, after)
        await mesh.until("inbound", lambda answer: not answer.status)
        await mesh.apply(first, after, gone)
        await mesh.until("inbound", lambda answer: answer.status == 200)
        await mesh.apply(patch("NETWORK_FILTER", "REPLACE", saying("hello"), listener=manager(**INBOUND)))
        await mesh.until("inbound", lambda answer: not answer.status)
        assert await heard(mesh, "inbound") == "hello"


async def test_a_listener_is_merged_into_added_and_removed() -> None:
    other, added = free_port(), free_port()
    address = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": other}}}
    async with patched_sidecar() as mesh:
        await mesh.apply(
            patch("LISTENER", "MERGE", {"additional_addresses": [address]}, listener=INBOUND),
            patch("LISTENER", "ADD", http_listener("mine", added, "added")),
            patch("LISTENER", "REMOVE", listener={"name": "http_proxy"}),
        )
        assert (await mesh.until(str(other), lambda answer: answer.status == 200)).backend == "app"
        assert (await mesh.until(str(added), lambda answer: answer.status == 200)).text == "added"
        await mesh.until("proxied", lambda answer: not answer.status)
        assert mesh.matched == [0, 1, 2]


@pytest.mark.proves("networking.FilterChainMatch.name")
async def test_a_filter_chain_is_merged_into_removed_and_added() -> None:
    async with patched_sidecar() as mesh:
        name = f"inbound|{mesh.app.port}||-plain"
        chain = {**INBOUND, "filterChain": {"name": name}}
        far = {
            "filter_chain_match": {"source_prefix_ranges": [{"address_prefix": "10.9.8.7", "prefix_len": 32}]}
        }
        await mesh.until("inbound", lambda answer: answer.status == 200)
        await mesh.apply(patch("FILTER_CHAIN", "MERGE", far, listener=chain))
        await mesh.until("inbound", lambda answer: not answer.status)
        mine = {"name": "mine", "filters": [answering(EVERYTHING)]}
        await mesh.apply(
            patch("FILTER_CHAIN", "REMOVE", listener=chain),
            patch("FILTER_CHAIN", "ADD", mine, listener=INBOUND),
        )
        assert (await mesh.until("inbound", lambda answer: answer.status == 200)).text == "mine"


@pytest.mark.proves("networking.ListenerMatch.listenerFilter")
async def test_listener_filters_are_added_merged_into_and_removed() -> None:
    name = "envoy.filters.listener.proxy_protocol"
    there = {**INBOUND, "listenerFilter": name}
    value = {"name": name, "typed_config": {"@type": PROXY_PROTOCOL}}
    lenient = {"typed_config": {"@type": PROXY_PROTOCOL, "allow_requests_without_proxy_protocol": True}}
    async with patched_sidecar() as mesh:
        add = patch("LISTENER_FILTER", "ADD", value, listener=INBOUND)
        await mesh.apply(add)
        await mesh.until("inbound", lambda answer: not answer.status)
        await mesh.apply(add, patch("LISTENER_FILTER", "MERGE", lenient, listener=there))
        await mesh.until("inbound", lambda answer: answer.status == 200)
        await mesh.apply(add, patch("LISTENER_FILTER", "REPLACE", {"name": name, **lenient}, listener=there))
        await mesh.until("inbound", lambda answer: answer.status == 200)
        for operation in ("INSERT_FIRST", "INSERT_BEFORE", "INSERT_AFTER"):
            await mesh.apply(patch("LISTENER_FILTER", operation, value, listener=INBOUND))
            await mesh.until("inbound", lambda answer: not answer.status)
            await mesh.apply(add, patch("LISTENER_FILTER", "REMOVE", listener=there))
            await mesh.until("inbound", lambda answer: answer.status == 200)


@pytest.mark.proves(
    "networking.FilterChainMatch.transportProtocol",
    "networking.FilterChainMatch.applicationProtocols",
    "networking.FilterChainMatch.sni",
    "networking.FilterChainMatch.destinationPort",
)
async def test_filter_chains_are_found_by_their_own_conditions() -> None:
    conditions = {
        "transport_protocol": "raw_buffer",
        "application_protocols": ["http/1.1", "h2c"],
        "server_names": ["a.example"],
        "destination_port": 80,
    }
    fitting = (
        {"transportProtocol": "raw_buffer"},
        {"applicationProtocols": "h2c,http/1.1"},
        {"sni": "a.example"},
        {"destinationPort": 80},
    )
    others = (
        {"transportProtocol": "tls"},
        {"applicationProtocols": "h2c,http/1.0"},
        {"sni": "b.example"},
        {"destinationPort": 81},
    )
    async with patched_sidecar() as mesh:
        await mesh.apply(
            patch("FILTER_CHAIN", "MERGE", {"filter_chain_match": conditions}, listener=INBOUND),
            *(
                patch("NETWORK_FILTER", "ADD", access("ALLOW"), listener={**INBOUND, "filterChain": item})
                for item in (*fitting, *others)
            ),
        )
        assert mesh.matched == [0, 1, 2, 3, 4]
        await mesh.until("inbound", lambda answer: not answer.status)
