"""Changes reach a running Envoy over ADS, and no request fails on the way."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from ads_mesh import SUBSETS, Mesh, endpoint, failed, resource, running_mesh, weights


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    async with running_mesh() as made:
        yield made


async def test_a_change_reaches_a_running_envoy_in_both_ways_of_delivery(mesh: Mesh) -> None:
    for proxied in (False, True):
        assert await mesh.client.get(proxied=proxied) == (200, "v1")
    await mesh.plane.put(endpoint("v2", mesh.v2.port), resource(SUBSETS), weights(v2=100))
    await mesh.plane.settled()
    for proxied in (False, True):
        assert await mesh.client.get(proxied=proxied) == (200, "v2")


async def test_subsets_and_the_route_to_them_come_and_go_together_under_load(mesh: Mesh) -> None:
    rules = (resource(SUBSETS), weights(v1=50, v2=50))
    await mesh.plane.put(endpoint("v2", mesh.v2.port))
    async with mesh.client.under_load() as answers:
        for _ in range(15):
            await mesh.plane.put(*rules)
            await mesh.plane.settled()
            await mesh.plane.remove(*(item.ref for item in rules))
            await mesh.plane.settled()
    assert not failed(answers)
    assert answers.total() > 100


async def test_subsets_and_routes_change_faster_than_they_are_acknowledged(mesh: Mesh) -> None:
    rules = (resource(SUBSETS), weights(v1=50, v2=50))
    await mesh.plane.put(endpoint("v2", mesh.v2.port))
    async with mesh.client.under_load() as answers:
        for _ in range(150):
            await mesh.plane.put(*rules)
            await asyncio.sleep(0.005)
            await mesh.plane.remove(*(item.ref for item in rules))
            await asyncio.sleep(0.005)
        await mesh.plane.settled()
    assert not failed(answers)


async def test_a_weight_changes_a_hundred_times_under_load(mesh: Mesh) -> None:
    await mesh.plane.put(endpoint("v2", mesh.v2.port), resource(SUBSETS), weights(v1=100, v2=0))
    async with mesh.client.under_load() as answers:
        for weight in range(1, 101):
            await mesh.plane.put(weights(v1=100 - weight, v2=weight))
            await asyncio.sleep(0.02)
        await mesh.plane.settled()
    assert not failed(answers)
    assert answers[200, "v1"] > 20
    assert answers[200, "v2"] > 20
    assert await mesh.client.get() == (200, "v2")


async def test_an_endpoint_comes_and_goes_every_tenth_of_a_second_under_load(mesh: Mesh) -> None:
    mesh.v1.delay = mesh.v2.delay = 0.01
    second = endpoint("v2", mesh.v2.port)
    async with mesh.client.under_load() as answers:
        for _ in range(12):
            await mesh.plane.put(second)
            await asyncio.sleep(0.1)
            await mesh.plane.remove(second.ref)
            await asyncio.sleep(0.1)
    assert not failed(answers)
    assert answers[200, "v2"] > 20
