"""Key sets that the control plane fetches from an issuer reach the proxies that verify tokens with them."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import yaml
from ads_mesh import ads_envoy
from ads_mesh import control_plane as directory_of
from aiohttp import web
from edge_mesh import INGRESS_ID, PATIENCE, app, eventually, gateway, route
from end_user_tokens import SigningKey, bearer, key_set, token_policy
from identity_mesh import new_authority
from routing_envoy import backend
from static_mesh import free_port

from marline.api.resource import Ref
from marline.control_plane.wiring import ControlPlane
from marline.identity.jwks import key_client
from marline.mesh.model import Capture, GatewayPort, MeshSettings, Proxy, Role, Workload
from marline.mesh.token_policies import REQUEST_AUTHENTICATION
from marline.node.home import Home
from marline.store.embedded.store import EmbeddedStore
from marline.xds.server import serve_ads

SERVERS = '  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}\n'


@dataclass
class Issuer:
    """Serves key sets, and says in its OpenID configuration where."""

    keys: list[SigningKey] = field(default_factory=list)
    url: str = ""
    slow: bool = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.slow:
            await asyncio.Event().wait()
        if request.path == "/.well-known/openid-configuration":
            return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})
        return web.Response(text=key_set(*self.keys), status=200 if self.keys else 503)


@dataclass
class Edge:
    """A control plane with a real store, a gateway's Envoy, and an issuer."""

    plane: ControlPlane
    store: EmbeddedStore
    issuer: Issuer
    session: aiohttp.ClientSession
    base: str

    async def put(self, text: str) -> None:
        for obj in yaml.safe_load_all(text):
            if obj:
                obj["metadata"].setdefault("namespace", "default")
                await self.store.apply(obj, field_manager="test", force=True)

    async def status(self, key: SigningKey, issuer: str = "issuer") -> int:
        headers = {"host": "a.example.com", "connection": "close", **bearer(key.token({"iss": issuer}))}
        async with self.session.get(self.base, headers=headers) as response:
            return response.status

    async def told(self, name: str, reason: str) -> Mapping[str, Any]:
        """The condition of a policy's keys, as soon as it has this reason."""
        async with asyncio.timeout(PATIENCE):
            async for change in self.store.watch((REQUEST_AUTHENTICATION,)):
                for item in (item for item in change.changed if item.ref.name == name):
                    for found in item.status.get("conditions", ()):
                        if (found["type"], found["reason"]) == ("KeysFetched", reason):
                            return dict(found)
        raise AssertionError(reason)


@asynccontextmanager
async def issuing() -> AsyncIterator[Issuer]:
    made = Issuer()
    application = web.Application()
    application.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


@asynccontextmanager
async def running_edge() -> AsyncIterator[Edge]:
    listen, labels = free_port(), (("istio", "ingressgateway"),)
    workload = Workload("istio-system", "ingress-1", "ingress", labels=labels)
    ports = (GatewayPort(80, listen),)
    proxy = Proxy("gateway~ingress", Role.GATEWAY, Capture.EXPLICIT, (workload,), "127.0.0.1", ports)
    async with AsyncExitStack() as stack:
        issuer = await stack.enter_async_context(issuing())
        one = await stack.enter_async_context(backend("one"))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        directory = (await stack.enter_async_context(directory_of())).directory
        store = await EmbeddedStore.open(directory / "store.db")
        stack.push_async_callback(store.close)
        client = await stack.enter_async_context(key_client())
        plane = ControlPlane.of(store, MeshSettings(), Home(directory), client)
        plane.keys.refresh.refresh_seconds = 0.1
        made = Edge(plane, store, issuer, session, f"http://127.0.0.1:{listen}")
        await made.put(app("one", one.port) + gateway(SERVERS) + route("a.example.com", "one"))
        followed = asyncio.Event()
        tasks = [asyncio.create_task(item) for item in (plane.follow(followed), *plane.loops())]
        stack.callback(lambda: [task.cancel() for task in tasks])
        await followed.wait()
        await stack.enter_async_context(serve_ads(plane.hub, directory / "xds.sock"))
        authority = new_authority(directory / "ca", time.time())
        await stack.enter_async_context(ads_envoy(directory, proxy, INGRESS_ID, authority))
        yield made


@pytest.mark.proves("security.JWTRule.jwksUri", "security.JWTRule.timeout", "security.JWTRule.issuer")
async def test_keys_are_fetched_rotated_and_kept() -> None:
    first, second = SigningKey.new("ES256", "first"), SigningKey.new("RS256", "second")
    async with running_edge() as edge:
        edge.issuer.slow = True
        rule = {"issuer": "issuer", "jwksUri": f"{edge.issuer.url}/keys", "timeout": "0.3s"}
        await edge.put(token_policy([rule], namespace="istio-system"))
        assert "within 0.3 s" in (await edge.told("own", "Unavailable"))["message"]
        await eventually(lambda: _status(edge, first), 401)

        edge.issuer.slow, edge.issuer.keys = False, [first]
        assert (await edge.told("own", "Fetched"))["status"] == "True"
        await eventually(lambda: _status(edge, first), 200)
        assert await edge.status(second) == 401

        edge.issuer.keys = [second]
        await eventually(lambda: _status(edge, second), 200)
        assert await edge.status(first) == 401

        edge.issuer.keys = []
        assert "answers 503; the last good keys stay" in (await edge.told("own", "Stale"))["message"]
        assert await edge.status(second) == 200

        url = edge.issuer.url
        edge.issuer.keys = [first]
        await edge.put(token_policy([{"issuer": url}], "found", namespace="istio-system"))
        await edge.told("found", "Fetched")
        await eventually(lambda: _status(edge, first, url), 200)
        assert await edge.status(second, url) == 401

        await edge.store.delete(Ref(*REQUEST_AUTHENTICATION, "istio-system", "own"))
        await eventually(lambda: _status(edge, second), 401)


async def _status(edge: Edge, key: SigningKey, issuer: str = "issuer") -> int | None:
    with contextlib.suppress(aiohttp.ClientError, json.JSONDecodeError):
        return await edge.status(key, issuer)
    return None
