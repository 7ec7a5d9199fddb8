"""What Envoy rejects costs nothing but itself, and is told to whom it concerns."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from ads_mesh import (
    PATIENCE,
    SERVICE,
    SUBSETS,
    Mesh,
    control_plane,
    endpoint,
    resource,
    running_mesh,
    sidecar,
    weights,
)
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2

from marline.api.resource import Ref
from marline.compile.resource import CLUSTER, LISTENER, VIRTUAL_HOST, Blob, Recipe
from marline.compile.units import HostUnit
from marline.control_plane.wiring import ControlPlane
from marline.identity.jwks import key_client
from marline.mesh.model import MeshSettings
from marline.node.home import Home
from marline.store.embedded.store import EmbeddedStore
from marline.xds.hub import Connection, Hub
from marline.xds.messages import Response
from marline.xds.server import serve_ads
from marline.xds.status import REJECTED, SYNCED

RULE_TEXT = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}]}
"""
RULE = Ref("networking.istio.io", "VirtualService", "default", "reviews")
FQDN = "reviews.default.svc.cluster.local"
HOST = f"http_proxy/{FQDN}:9080"
BY_HAND = HostUnit("by hand")


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    async with running_mesh() as made:
        yield made


def build_broken_host(name: str, expression: str) -> route_components_pb2.VirtualHost:
    made = route_components_pb2.VirtualHost(name=name, domains=[f"{name.partition('/')[2]}"])
    route = made.routes.add()
    route.match.safe_regex.regex = expression
    route.direct_response.status = 418
    return made


def broken_host(name: str, expression: str = "(") -> Blob:
    """A virtual host that Envoy takes only if the regular expression is one."""
    return Recipe(VIRTUAL_HOST, name, build_broken_host, (name, expression), (RULE,)).make()


def build_broken_listener() -> listener_pb2.Listener:
    return listener_pb2.Listener(name="broken")


def show(connection: Connection, unit: HostUnit, *blobs: Blob) -> None:
    """A proxy's view gets what the compiler would not make."""
    for effect in connection.session.changed(connection.view.replace({unit: blobs})):
        if isinstance(effect, Response):
            connection.deliver(effect)


def states(hub: Hub) -> dict[str, str]:
    (proxy,) = hub.statuses().proxies
    return {item.type_url.rpartition(".")[2]: item.state for item in proxy.types}


async def test_a_rejected_route_leaves_the_last_good_one_and_everything_else_goes_on(mesh: Mesh) -> None:
    (connection,) = mesh.plane.hub.connections
    good = [broken_host(f"http_proxy/other-{number}.example", ".*") for number in range(4)]
    show(connection, BY_HAND, broken_host(HOST), *good)
    await mesh.plane.settled()
    (refused, *more) = mesh.plane.heard.rejections
    assert {(item.name, item.sources) for item in (refused, *more)} == {(HOST, (RULE,))}
    assert "missing ): (" in refused.message
    assert await mesh.client.get(proxied=True) == (200, "v1")
    for number in range(4):
        url = f"http://other-{number}.example/"
        async with mesh.client.session.get(url, proxy=mesh.client.proxy) as answer:
            assert answer.status == 418
    assert states(mesh.plane.hub) == {
        "Cluster": SYNCED,
        "ClusterLoadAssignment": SYNCED,
        "Listener": SYNCED,
        "RouteConfiguration": SYNCED,
        "VirtualHost": REJECTED,
    }
    await mesh.plane.put(endpoint("v1", mesh.v2.port))
    await mesh.plane.settled()
    assert await mesh.client.get(proxied=True) == (200, "v2")


async def test_the_last_good_route_keeps_the_cluster_that_it_leads_to(mesh: Mesh) -> None:
    await mesh.plane.put(endpoint("v2", mesh.v2.port), resource(SUBSETS), weights(v2=100))
    await mesh.plane.settled()
    (connection,) = mesh.plane.hub.connections
    clusters = [blob for name, blob in connection.view.resources[CLUSTER].items() if FQDN in name]
    left = [blob for blob in clusters if "|v2|" not in blob.name]
    assert len(left) == len(clusters) - 1
    show(connection, HostUnit(FQDN), *left, broken_host(HOST))
    await mesh.plane.settled()
    assert await mesh.client.get(proxied=True) == (200, "v2")
    show(connection, HostUnit(FQDN), *left, broken_host(HOST, ".*"))
    await mesh.plane.settled()
    assert "|v2|" not in await mesh.client.envoy.admin("/clusters")


async def test_a_rejected_listener_is_told_with_envoys_words_and_ends_with_its_change(mesh: Mesh) -> None:
    (connection,) = mesh.plane.hub.connections
    show(connection, BY_HAND, Recipe(LISTENER, "broken", build_broken_listener, (), (RULE,)).make())
    await mesh.plane.settled()
    (refused,) = mesh.plane.heard.rejections
    assert refused.name == "broken"
    assert "address" in refused.message
    (proxy,) = mesh.plane.hub.statuses().proxies
    assert [(item.name, item.message) for item in proxy.rejections] == [("broken", refused.message)]
    show(connection, BY_HAND)
    (proxy,) = mesh.plane.hub.statuses().proxies
    assert proxy.state == SYNCED
    assert await mesh.client.get() == (200, "v1")


async def test_a_rejection_stands_in_the_status_of_the_resource_at_fault_until_it_ends(
    tmp_path: Path,
) -> None:
    followed = asyncio.Event()
    async with AsyncExitStack() as stack:
        store = await EmbeddedStore.open(tmp_path / "store.db")
        stack.push_async_callback(store.close)
        for text in (SERVICE, RULE_TEXT):
            await store.create(yaml.safe_load(text))
        client = await stack.enter_async_context(key_client())
        plane = ControlPlane.of(store, MeshSettings(), Home(tmp_path), client)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        loops = [group.create_task(item) for item in (plane.follow(followed), *plane.loops())]
        await followed.wait()
        directory = (await stack.enter_async_context(control_plane())).directory
        await stack.enter_async_context(serve_ads(plane.hub, directory / "xds.sock"))
        await stack.enter_async_context(sidecar(directory))
        (connection,) = plane.hub.connections
        show(connection, BY_HAND, broken_host(HOST))
        told = await condition(store, "False")
        assert told["reason"] == "RejectedByProxy"
        for fact in ("sidecar~productpage", HOST, "missing ): ("):
            assert fact in told["message"]
        changed = yaml.safe_load(RULE_TEXT)
        changed["spec"]["http"][0]["timeout"] = "3s"
        await store.apply(changed, field_manager="test", force=True)
        assert (await condition(store, "True"))["message"] == ""
        for task in loops:
            task.cancel()


async def condition(store: EmbeddedStore, status: str) -> Mapping[str, Any]:
    """Of the VirtualService, as soon as it has this status."""
    async with asyncio.timeout(PATIENCE):
        async for change in store.watch((("networking.istio.io", "VirtualService"),)):
            for item in change.changed:
                for found in item.status.get("conditions", ()):
                    if (found["type"], found["status"]) == ("Programmed", status):
                        return dict(found)
    raise AssertionError("the watch ended")
