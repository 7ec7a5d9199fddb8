"""What the control plane learns is written to a real store by the loops around its state machines."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from marline.api.resource import Ref, Resource
from marline.compile.gateway_api_conditions import CONTROLLER
from marline.compile.resource import LISTENER, VIRTUAL_HOST
from marline.controllers.gateway_statuses import GatewayStatuses
from marline.controllers.rejection_statuses import RejectionStatuses
from marline.controllers.rejections import Rejections
from marline.mesh.model import (
    BootstrapPatches,
    Capture,
    ChangeSet,
    MeshSettings,
    PatchId,
    Proxy,
    Role,
    Workload,
)
from marline.store.embedded.store import EmbeddedStore
from marline.xds.hub import Hub
from marline.xds.messages import Refused, Settled

RULE = Ref("networking.istio.io", "VirtualService", "default", "reviews")
GATEWAY = Ref("gateway.networking.k8s.io", "Gateway", "default", "edge")
API = "gateway.networking.k8s.io/v1"
PATIENCE = 10


def rule(name: str = "reviews") -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"hosts": [name], "http": [{"route": [{"destination": {"host": name}}]}]},
    }


def proxy(node_id: str, role: Role = Role.SIDECAR) -> Proxy:
    workload = Workload("default", node_id, labels=(("istio", "ingressgateway"),))
    return Proxy(node_id, role, Capture.EXPLICIT, (workload,), bind_address="127.0.0.9")


class Clock:
    """Driven by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    opened = await EmbeddedStore.open(tmp_path / "store.db")
    yield opened
    await opened.close()


@asynccontextmanager
async def running(loop: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(loop)
    yield
    task.cancel()
    assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)


async def conditions(store: EmbeddedStore, ref: Ref, kind: str, status: str) -> dict[str, Any]:
    """The condition of this type, as soon as it has this status."""
    async with asyncio.timeout(PATIENCE):
        async for change in store.watch(((ref.group, ref.kind),)):
            for item in change.changed:
                for found in item.status.get("conditions", ()) if item.ref == ref else ():
                    if (found["type"], found["status"]) == (kind, status):
                        return dict(found)
    raise AssertionError("the watch ended")


async def test_a_rejection_is_written_and_its_end_too_with_their_times(store: EmbeddedStore) -> None:
    clock = Clock()
    statuses = RejectionStatuses(store, clock)
    await store.create(rule())
    async with running(statuses.run()):
        statuses.refused(proxy("a"), Refused(VIRTUAL_HOST, "9080/reviews", "no such thing", (RULE,)))
        told = await conditions(store, RULE, "Programmed", "False")
        assert told["reason"] == "RejectedByProxy"
        assert told["message"].endswith("no such thing")
        assert told["lastTransitionTime"] == "2026-01-01T00:00:00Z"
        clock.pass_by(5)
        statuses.settled(proxy("a"), Settled(VIRTUAL_HOST, "9080/reviews"))
        told = await conditions(store, RULE, "Programmed", "True")
        assert told["lastTransitionTime"] == "2026-01-01T00:00:05Z"


async def test_a_rejection_ends_with_the_proxy_that_made_it(store: EmbeddedStore) -> None:
    statuses = RejectionStatuses(store, Clock())
    await store.create(rule())
    async with running(statuses.run()):
        statuses.refused(proxy("a"), Refused(VIRTUAL_HOST, "9080/reviews", "bad", (RULE,)))
        await conditions(store, RULE, "Programmed", "False")
        statuses.disconnected(proxy("a"))
        await conditions(store, RULE, "Programmed", "True")


async def test_a_bootstrap_that_was_not_to_be_used_is_told_until_its_proxy_starts_with_another(
    store: EmbeddedStore,
) -> None:
    statuses = RejectionStatuses(store, Clock())
    await store.create(rule())
    without = BootstrapPatches(refused=(PatchId(RULE, 0),), message="no filter chains")
    async with running(statuses.run()):
        statuses.connected(replace(proxy("a"), bootstrap=without))
        told = await conditions(store, RULE, "Programmed", "False")
        assert told["message"].endswith("no filter chains")
        statuses.connected(replace(proxy("a"), bootstrap=BootstrapPatches((PatchId(RULE, 0),))))
        await conditions(store, RULE, "Programmed", "True")


async def test_a_rejection_of_what_has_been_deleted_stops_nothing(store: EmbeddedStore) -> None:
    statuses = RejectionStatuses(store, Clock())
    gone = Ref(RULE.group, RULE.kind, "default", "gone")
    await store.create(rule())
    async with running(statuses.run()):
        statuses.refused(proxy("a"), Refused(VIRTUAL_HOST, "9080/x", "bad", (gone, RULE)))
        await conditions(store, RULE, "Programmed", "False")


async def test_gateways_learn_what_is_served_and_where_when_a_gateway_comes(store: EmbeddedStore) -> None:
    hub = Hub(MeshSettings(), _Nobody())
    statuses = GatewayStatuses(store, hub, Rejections(), Clock())
    await store.create(
        {"apiVersion": API, "kind": "GatewayClass", "metadata": {"name": "marline"},
         "spec": {"controllerName": CONTROLLER}}
    )  # fmt: skip
    await store.create(
        {"apiVersion": API, "kind": "Gateway", "metadata": {"name": "edge", "namespace": "default"},
         "spec": {"gatewayClassName": "marline",
                  "listeners": [{"name": "web", "port": 80, "protocol": "HTTP"}]}}
    )  # fmt: skip
    changes = store.watch()
    impact = await hub.apply(await anext(changes))
    async with running(statuses.run()):
        statuses.changed(impact)
        accepted = await conditions(store, GATEWAY, "Accepted", "True")
        assert accepted["lastTransitionTime"] == "2026-01-01T00:00:00Z"
        assert not (await store.get(GATEWAY)).status.get("addresses")
        await hub.apply(await anext(changes))
        hub.connect(proxy("edge", Role.GATEWAY), lambda _: None)
        statuses.came_or_went(proxy("edge", Role.GATEWAY))
        async with asyncio.timeout(PATIENCE):
            async for change in store.watch(((GATEWAY.group, GATEWAY.kind),)):
                if any(item.status.get("addresses") for item in change.changed):
                    break
        addresses = (await store.get(GATEWAY)).status["addresses"]
        assert [item["value"] for item in addresses] == ["127.0.0.9"]


def _route(name: str, hostname: str) -> dict[str, Any]:
    return {
        "apiVersion": API,
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"parentRefs": [{"name": "edge"}], "hostnames": [hostname], "rules": [{}]},
    }


async def _follow(store: EmbeddedStore, hub: Hub, statuses: GatewayStatuses) -> None:
    async for change in store.watch():
        statuses.changed(await hub.apply(change))


async def test_a_route_that_comes_is_told_so_and_its_gateway_counts_it(store: EmbeddedStore) -> None:
    hub = Hub(MeshSettings(), _Nobody())
    statuses = GatewayStatuses(store, hub, Rejections(), Clock())
    await store.create(API_GATEWAY)
    async with running(statuses.run()), running(_follow(store, hub, statuses)):
        await conditions(store, GATEWAY, "Accepted", "True")
        for count, name in enumerate(("one", "two"), 1):
            await store.create(_route(name, f"{name}.example.com"))
            async with asyncio.timeout(PATIENCE):
                async for change in store.watch(((GATEWAY.group, GATEWAY.kind),)):
                    if any(item.status["listeners"][0]["attachedRoutes"] == count for item in change.changed):
                        break
            told = await store.get(Ref(GATEWAY.group, "HTTPRoute", "default", name))
            assert told.status["parents"][0]["conditions"][0]["status"] == "True"


API_GATEWAY = {
    "apiVersion": API,
    "kind": "Gateway",
    "metadata": {"name": "edge", "namespace": "default"},
    "spec": {
        "gatewayClassName": "istio",
        "listeners": [{"name": "web", "port": 80, "protocol": "HTTP"}],
    },
}
ISTIO_GATEWAY = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "edge", "namespace": "default"},
    "spec": {"servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]},
}


@pytest.mark.parametrize(
    ("gateway", "kinds"),
    [
        (API_GATEWAY, {"Accepted", "Programmed"}),
        (ISTIO_GATEWAY, {"Accepted", "Conflicted", "ResolvedRefs", "Programmed"}),
    ],
)
async def test_a_gateway_whose_listener_is_rejected_says_so_beside_what_else_it_says(
    store: EmbeddedStore, gateway: dict[str, Any], kinds: set[str]
) -> None:
    ref = Ref(gateway["apiVersion"].partition("/")[0], "Gateway", "default", "edge")
    hub, clock = Hub(MeshSettings(), _Nobody()), Clock()
    rejections = RejectionStatuses(store, clock)
    gateways = GatewayStatuses(store, hub, rejections.rejections, clock)
    rejections.gateways_at_fault = gateways.at_fault
    await store.create(gateway)
    changes = store.watch()
    async with running(rejections.run()), running(gateways.run()):
        hub.connect(proxy("edge", Role.GATEWAY), lambda _: None)
        gateways.changed(await hub.apply(await anext(changes)))
        await conditions(store, ref, "Programmed", "True")
        await hub.apply(await anext(changes))
        rejections.refused(proxy("edge"), Refused(LISTENER, "0.0.0.0_80", "cannot bind", (ref,)))
        told = await conditions(store, ref, "Programmed", "False")
        assert told["message"].endswith("cannot bind")
        await hub.apply(await anext(changes))
        assert {item["type"] for item in (await store.get(ref)).status["conditions"]} == kinds
        rejections.settled(proxy("edge"), Settled(LISTENER, "0.0.0.0_80"))
        await conditions(store, ref, "Programmed", "True")


async def _envoy_filter(store: EmbeddedStore) -> Resource[Any]:
    patch = {"applyTo": "CLUSTER", "patch": {"operation": "REMOVE"}}
    head = {"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter"}
    return await store.create(
        {**head, "metadata": {"name": "x", "namespace": "default"}, "spec": {"configPatches": [patch]}}
    )


async def test_a_patch_that_matches_from_the_first_is_told_to_match(store: EmbeddedStore) -> None:
    made = await _envoy_filter(store)
    statuses = RejectionStatuses(store, Clock())
    statuses.patched(proxy("a"), frozenset({PatchId(made.ref, 0)}))
    async with running(statuses.run()):
        statuses.changed(ChangeSet((made,)))
        await conditions(store, made.ref, "Matched", "True")
        assert [item["type"] for item in (await store.get(made.ref)).status["conditions"]] == ["Matched"]


async def test_a_patch_that_matches_nothing_is_told_until_it_matches(store: EmbeddedStore) -> None:
    made = await _envoy_filter(store)
    statuses = RejectionStatuses(store, Clock())
    async with running(statuses.run()):
        statuses.changed(ChangeSet((made,)))
        told = await conditions(store, made.ref, "Matched", "False")
        assert "configPatches[0]" in told["message"]
        statuses.refused(proxy("a"), Refused(LISTENER, "l", "no", (made.ref,)))
        await conditions(store, made.ref, "Programmed", "False")
        statuses.patched(proxy("a"), frozenset({PatchId(made.ref, 0)}))
        await conditions(store, made.ref, "Matched", "True")
        statuses.disconnected(proxy("a"))
        await conditions(store, made.ref, "Matched", "False")
        await conditions(store, made.ref, "Programmed", "True")


class _Nobody:
    """A hub's observer whom nothing concerns."""

    def connected(self, proxy: Proxy) -> None: ...

    def disconnected(self, proxy: Proxy) -> None: ...

    def refused(self, proxy: Proxy, refused: Refused) -> None: ...

    def patched(self, proxy: Proxy, patches: frozenset[PatchId]) -> None: ...

    def settled(self, proxy: Proxy, settled: Settled) -> None: ...
