"""Limits of a DestinationRule hold at the client's sidecar."""

import asyncio

import aiohttp
import pytest
from test_core_mtls import pair

RULE = """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec:
  host: reviews
  trafficPolicy: %s
"""


async def statuses(url: str, count: int) -> list[int]:
    async def one(session: aiohttp.ClientSession) -> int:
        async with session.get(url) as response:
            return response.status

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        return list(await asyncio.gather(*(one(session) for _ in range(count))))


@pytest.mark.proves(
    "networking.HTTPSettings.http1MaxPendingRequests", "networking.TCPSettings.maxConnections"
)
async def test_requests_beyond_the_pending_limit_are_refused_at_once() -> None:
    limits = "{connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}}"
    async with pair("http", RULE % limits) as mesh:
        mesh.app.delay = 0.3
        found = await statuses(mesh.url, 10)
    assert found.count(200) >= 1
    assert found.count(503) >= 5


async def test_without_limits_nothing_is_refused() -> None:
    async with pair() as mesh:
        mesh.app.delay = 0.1
        assert set(await statuses(mesh.url, 50)) == {200}


async def test_an_endpoint_that_fails_is_left_out() -> None:
    policy = "{outlierDetection: {consecutive5xxErrors: 2, baseEjectionTime: 60s, maxEjectionPercent: 100}}"
    async with pair("http", RULE % policy) as mesh:
        mesh.app.failures = 100
        for _ in range(3):
            await statuses(mesh.url, 1)
        reached = len(mesh.app.seen)
        assert await statuses(mesh.url, 1) == [503]
        assert len(mesh.app.seen) == reached
