"""A new endpoint gets few requests at first."""

import asyncio
import time
from collections import Counter

import pytest
from ads_mesh import Mesh, endpoint, resource, running_mesh

WINDOW = 3.0
RULE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec: {host: reviews, trafficPolicy: {loadBalancer: {simple: %s, %s}}}
"""


async def share_of_the_new(mesh: Mesh, balancing: str, settings: str) -> float:
    """What part of the requests goes to an endpoint that has just come."""
    await mesh.plane.put(resource(RULE % (balancing, settings)))
    await mesh.plane.settled()
    began = time.monotonic()
    while time.monotonic() < began + WINDOW:
        assert await mesh.client.get() == (200, "v1")
    await mesh.plane.put(endpoint("v2", mesh.v2.port))
    answers: Counter[str] = Counter()
    async with asyncio.timeout(20):
        while not answers["v2"]:
            answers[(await mesh.client.get())[1]] += 1
    answers.clear()
    for _ in range(100):
        answers[(await mesh.client.get())[1]] += 1
    return answers["v2"] / 100


@pytest.mark.proves(
    "networking.LoadBalancerSettings.warmup",
    "networking.Warmup.duration",
    "networking.Warmup.minimumPercent",
    "networking.Warmup.aggression",
    "networking.LoadBalancerSettings.warmupDurationSecs",
)
@pytest.mark.parametrize(
    ("balancing", "settings", "least", "most"),
    [
        ("ROUND_ROBIN", "warmup: {duration: 3s, minimumPercent: 1}", 0.0, 0.35),
        ("ROUND_ROBIN", "warmup: {duration: 3s, minimumPercent: 100}", 0.4, 0.6),
        ("ROUND_ROBIN", "warmup: {duration: 3s, minimumPercent: 1, aggression: 1000}", 0.4, 0.6),
        ("ROUND_ROBIN", "warmupDurationSecs: 3s", 0.0, 0.35),
        ("LEAST_REQUEST", "warmup: {duration: 3s, minimumPercent: 1}", 0.0, 0.35),
    ],
)
async def test_a_new_endpoint_warms_up(balancing: str, settings: str, least: float, most: float) -> None:
    async with running_mesh() as mesh:
        assert least <= await share_of_the_new(mesh, balancing, settings) <= most
