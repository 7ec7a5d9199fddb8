"""Shares of mirrors and faults in every spelling; origins that CORS does not know."""

import asyncio

import pytest
from routing_envoy import backend, routed, virtual_service

MIRRORED = """
- match: [{uri: {prefix: /whole}}]
  route: [{destination: {host: app}}]
  mirror: {host: shadow}
  mirrorPercent: 100
- match: [{uri: {prefix: /none}}]
  route: [{destination: {host: app}}]
  mirror: {host: shadow}
  mirrorPercent: 0
- route: [{destination: {host: app}}]
  mirrors:
  - {destination: {host: shadow}, percentage: {value: 50}}
  - {destination: {host: second}, percentage: {value: 0}}
"""


@pytest.mark.proves(
    "networking.HTTPRoute.mirrorPercent",
    "networking.HTTPMirrorPolicy.percentage",
    "networking.HTTPMirrorPolicy.destination",
)
async def test_each_mirror_gets_its_own_share() -> None:
    async with backend("app") as app, backend("shadow") as shadow, backend("second") as second:
        clusters = {"app": [app.port], "shadow": [shadow.port], "second": [second.port]}
        async with routed(virtual_service(MIRRORED), clusters) as client:
            for _ in range(5):
                await client.send("/none")
            assert not shadow.seen
            await client.send("/whole")
            await asyncio.wait_for(shadow.arrived.wait(), 5)
            for _ in range(200):
                await client.send("/")
            shadow.arrived.clear()
            await client.send("/whole/last")
            while shadow.seen[-1].path != "/whole/last":
                await asyncio.wait_for(shadow.arrived.wait(), 5)
                shadow.arrived.clear()
    # Half of 200: a standard deviation of 7, bounds of five; and two of which all are mirrored.
    assert 65 <= len(shadow.seen) - 2 <= 135
    assert not second.seen


@pytest.mark.proves("networking.Delay.percent", "networking.HTTPFaultInjection.delay")
async def test_a_delay_may_give_its_share_in_whole_percents() -> None:
    rules = """
- match: [{uri: {prefix: /all}}]
  fault: {delay: {fixedDelay: 30s, percent: 100}}
  route: [{destination: {host: app}}]
- fault: {delay: {fixedDelay: 30s}}
  route: [{destination: {host: app}}]
"""
    async with backend("app") as app, routed(virtual_service(rules), {"app": [app.port]}) as client:
        assert (await client.send("/none")).status == 200
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.send("/all"), 0.5)
    assert len(app.seen) == 1


@pytest.mark.proves("networking.CorsPolicy.allowOrigin", "networking.CorsPolicy.unmatchedPreflights")
async def test_preflights_of_other_origins_are_the_applications_unless_told_otherwise() -> None:
    rules = """
- match: [{uri: {prefix: /ignore}}]
  corsPolicy: {allowOrigin: ["https://good.example"], unmatchedPreflights: IGNORE}
  route: [{destination: {host: app}}]
- match: [{uri: {prefix: /forward}}]
  corsPolicy: {allowOrigin: ["https://good.example"], unmatchedPreflights: FORWARD}
  route: [{destination: {host: app}}]
- corsPolicy: {allowOrigins: [{exact: "https://good.example"}], allowOrigin: ["https://old.example"]}
  route: [{destination: {host: app}}]
"""
    ask = {"access_control_request_method": "PUT"}
    async with backend("app") as app, routed(virtual_service(rules), {"app": [app.port]}) as client:

        async def answered_by(path: str, origin: str) -> str:
            reply = await client.send(path, "OPTIONS", origin=origin, **ask)
            return reply.backend or reply.headers.get("access-control-allow-origin", "nobody")

        bad, good, old = "https://bad.example", "https://good.example", "https://old.example"
        assert await answered_by("/ignore", good) == good
        assert await answered_by("/forward", good) == good
        assert await answered_by("/", good) == good
        assert await answered_by("/ignore", bad) == "nobody"
        assert await answered_by("/forward", bad) == "app"
        assert await answered_by("/", bad) == "app"
        assert await answered_by("/", old) == "app"  # allowOrigins has replaced allowOrigin
