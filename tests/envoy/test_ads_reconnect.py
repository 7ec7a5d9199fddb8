"""An Envoy whose control plane was away goes on, and afterwards hears only of what has changed."""

import asyncio
from contextlib import AsyncExitStack

from ads_mesh import (
    SERVICE,
    SUBSETS,
    ControlPlane,
    Sidecar,
    control_plane,
    endpoint,
    failed,
    resource,
    sidecar,
    weights,
)
from routing_envoy import backend

from marline.compile.resource import CLUSTER, ENDPOINT, VIRTUAL_HOST

RANDOM = "trafficPolicy: {loadBalancer: {simple: RANDOM}}"
UPDATES = "(lds|cds).update_(success|rejected)|warming|listener_(added|modified|removed|create)"


async def updates(client: Sidecar) -> dict[str, int]:
    """How often the Envoy was given clusters and listeners, and what it made of them."""
    return await client.envoy.stats(UPDATES)


async def test_nothing_is_sent_twice_to_an_envoy_that_comes_back() -> None:
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(backend("v1"))
        first = await stack.enter_async_context(
            control_plane(resource(SERVICE), resource(SUBSETS), endpoint("v1", app.port), weights(v1=100))
        )
        async with first.serving():
            client = await stack.enter_async_context(sidecar(first.directory))
            await first.settled()
            before = await updates(client)
        assert before["listener_manager.lds.update_success"] > 0
        async with client.under_load() as answers:
            restarted = ControlPlane(first.directory, first.resources)
            async with restarted.serving():
                await restarted.settled()
                assert restarted.hub.sent == []
                assert await updates(client) == before
        assert not failed(answers)


async def test_an_envoy_that_comes_back_is_given_what_has_changed_in_the_order_of_make_before_break() -> None:
    async with AsyncExitStack() as stack:
        v1, v2 = [await stack.enter_async_context(backend(name)) for name in ("v1", "v2")]
        entries = (endpoint("v1", v1.port), endpoint("v2", v2.port))
        first = await stack.enter_async_context(
            control_plane(resource(SERVICE), *entries, resource(SUBSETS), weights(v1=100))
        )
        async with first.serving():
            client = await stack.enter_async_context(sidecar(first.directory))
            await first.settled()
        changed = [resource(SUBSETS.replace("name: v1", "name: old").replace("name: v2", "name: new"))]
        async with client.under_load() as answers:
            kept = {**first.resources, **{item.ref: item for item in (*changed, weights(new=100))}}
            restarted = ControlPlane(first.directory, kept)
            async with restarted.serving():
                await restarted.settled()
                sent = [(item.type_url, bool(item.blobs), bool(item.removed)) for item in restarted.hub.sent]
                made = [type_url for type_url, with_blobs, _ in sent if with_blobs]
                assert made.index(CLUSTER) < made.index(ENDPOINT) < made.index(VIRTUAL_HOST)
                assert sent[-1] == (CLUSTER, False, True)
                assert await client.get() == await client.get(proxied=True) == (200, "v2")
        assert not failed(answers)


async def test_an_envoy_cut_off_while_clusters_got_warm_is_given_their_endpoints_at_once() -> None:
    """It would wait 15 s for them otherwise, although it says that it has those of a cluster that changed."""
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(backend("v1"))
        first = await stack.enter_async_context(
            control_plane(resource(SERVICE), resource(SUBSETS), endpoint("v1", app.port), weights(v1=100))
        )
        async with first.serving():
            client = await stack.enter_async_context(sidecar(first.directory))
            await first.settled()
            first.hub.lost.add(ENDPOINT)
            await first.put(resource(SUBSETS.replace("host: reviews", f"host: reviews, {RANDOM}")))
            await client.wait_for_stat("cluster_manager.warming_clusters", 3)
        async with client.under_load() as answers:
            restarted = ControlPlane(first.directory, first.resources)
            async with restarted.serving(), asyncio.timeout(10):
                await restarted.settled()
                assert restarted.hub.asked[0] == ENDPOINT
                assert {item.type_url for item in restarted.hub.sent} == {ENDPOINT}
                await client.wait_for_stat("cluster_manager.warming_clusters", 0)
        assert not failed(answers)
