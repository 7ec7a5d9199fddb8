"""The API server is killed with SIGKILL and started again: what it acknowledged is there."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kubectl_cluster import ServerProcess

from marline.api.resource import Ref
from marline.mesh.model import ChangeSet
from marline.store.interface import Unavailable
from marline.store.remote.client import RemoteStore

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
WRITERS = 8


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path)
    process.start()
    yield process
    process.stop()


def configmap(name: str, count: int) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"count": str(count)}}


@dataclass
class Acknowledged:
    """The last count that the server has acknowledged for each object, and its version."""

    enough_after: int
    last: dict[str, tuple[int, int]] = field(default_factory=dict)
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, name: str, count: int, version: str) -> None:
        self.last[name] = (count, int(version))
        if sum(count + 1 for count, _ in self.last.values()) >= self.enough_after:
            self.enough.set()


async def write_until_cut_off(store: RemoteStore, name: str, acknowledged: Acknowledged) -> None:
    """Write ever higher counts into one object."""
    count = 0
    try:
        made = await store.create(configmap(name, count))
        while True:
            acknowledged.add(name, count, made.metadata.resource_version)
            count += 1
            made = await store.update(configmap(name, count))
    except Unavailable:
        return


@pytest.mark.parametrize("writes", [1, 40, 200])
async def test_every_acknowledged_write_survives_sigkill(server: ServerProcess, writes: int) -> None:
    acknowledged = Acknowledged(writes)
    async with RemoteStore.from_kubeconfig(server.kubeconfig) as store, asyncio.TaskGroup() as group:
        for number in range(WRITERS):
            group.create_task(write_until_cut_off(store, f"c{number}", acknowledged))
        await asyncio.wait_for(acknowledged.enough.wait(), 60)
        await asyncio.to_thread(server.stop, signal.SIGKILL)
    server.start()
    async with RemoteStore.from_kubeconfig(server.kubeconfig) as store:
        kept = await store.list("", "ConfigMap")
        found = {item.name: (item.spec.data["count"], item.metadata.resource_version) for item in kept.items}
        for name, (count, version) in acknowledged.last.items():
            # One more than was acknowledged is right too: the answer may have been cut off.
            assert int(found[name][0]) - count in (0, 1), name
            assert int(found[name][1]) >= version, name
        newest = max(version for _, version in acknowledged.last.values())
        assert int(kept.resource_version) >= newest
        made = await store.create(configmap("after", 0))
        assert int(made.metadata.resource_version) > int(kept.resource_version)


async def next_change(watch: AsyncIterator[ChangeSet]) -> ChangeSet:
    return await asyncio.wait_for(anext(watch), 30)


async def test_watch_goes_on_through_a_restart(server: ServerProcess) -> None:
    async with RemoteStore.from_kubeconfig(server.kubeconfig) as store:
        await store.create(configmap("before", 0))
        watch = store.watch((("", "ConfigMap"),))
        assert [item.name for item in (await next_change(watch)).changed] == ["before"]
        await asyncio.to_thread(server.stop, signal.SIGKILL)
        await asyncio.to_thread(server.start)
        async with RemoteStore.from_kubeconfig(server.kubeconfig) as admin:
            await admin.create(configmap("after", 0))
            await admin.delete(Ref("", "ConfigMap", "default", "before"))
        seen: set[str] = set()
        gone: set[str] = set()
        while gone != {"before"} or seen != {"after"}:
            change = await next_change(watch)
            seen |= {item.name for item in change.changed}
            gone |= {ref.name for ref in change.removed}
        await watch.aclose()


async def test_watch_resumes_from_a_version_of_before_the_restart(server: ServerProcess) -> None:
    async with RemoteStore.from_kubeconfig(server.kubeconfig) as store:
        start = (await store.create(configmap("a", 0))).metadata.resource_version
        await store.update(configmap("a", 1))
        await store.delete(Ref("", "ConfigMap", "default", "a"))
    server.stop(signal.SIGKILL)
    server.start()
    async with RemoteStore.from_kubeconfig(server.kubeconfig) as store:
        params = {"watch": "true", "resourceVersion": start, "timeoutSeconds": "1"}
        answer = await store.request("GET", CONFIGMAPS, params=params)
        events = [msgspec.json.decode(line) for line in answer.body.splitlines()]
    assert [event["type"] for event in events] == ["MODIFIED", "DELETED"]
    assert events[0]["object"]["data"] == {"count": "1"}
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert int(start) < versions[0] < versions[1]


async def test_orderly_stop_ends_in_time_with_watches_open(server: ServerProcess) -> None:
    async with RemoteStore.from_kubeconfig(server.kubeconfig) as store:
        watch = store.watch((("", "ConfigMap"),))
        await next_change(watch)
        await asyncio.wait_for(asyncio.to_thread(server.stop), 10)
        await watch.aclose()
