"""Registrations in a real store are compared with the proxies of a real hub."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from marline.controllers.reaper import Reaper
from marline.controllers.reaping import Reaping
from marline.mesh.endpoints import MANAGED_BY
from marline.mesh.model import MeshSettings, PatchId, Proxy
from marline.store.embedded.store import EmbeddedStore
from marline.xds.hub import Hub
from marline.xds.messages import Refused, Settled

KIND = ("networking.istio.io", "WorkloadEntry")


class _Observer:
    """Nobody has to be told: no proxy is ever connected."""

    def connected(self, proxy: Proxy) -> None: ...

    def disconnected(self, proxy: Proxy) -> None: ...

    def refused(self, proxy: Proxy, refused: Refused) -> None: ...

    def patched(self, proxy: Proxy, patches: frozenset[PatchId]) -> None: ...

    def settled(self, proxy: Proxy, settled: Settled) -> None: ...


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    opened = await EmbeddedStore.open(tmp_path / "marline.db")
    yield opened
    await opened.close()


def entry(name: str, *, managed: bool) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadEntry",
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": {MANAGED_BY: "this-machine"} if managed else {},
        },
        "spec": {"address": "127.0.0.1"},
    }


async def names_left(store: EmbeddedStore, *, after: int) -> set[str]:
    """The entries that are there once the reaper has removed so many."""
    reaping = Reaping(store, Hub(MeshSettings(), _Observer()), Reaper(grace=0.0))
    running = asyncio.create_task(reaping.run())
    try:
        async with asyncio.timeout(20):
            removed = 0
            async for change in store.watch((KIND,)):
                reaping.changed(change)
                removed += len(change.removed)
                if removed == after:
                    break
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return {item.name for item in (await store.list(*KIND)).items}


async def test_only_registrations_of_processes_are_removed(store: EmbeddedStore) -> None:
    await store.create(entry("dead", managed=True))
    await store.create(entry("foreign", managed=False))
    assert await names_left(store, after=1) == {"foreign"}


async def test_one_that_appears_later_is_found_by_its_change(store: EmbeddedStore) -> None:
    await store.create(entry("foreign", managed=False))
    looking = asyncio.create_task(names_left(store, after=1))
    await store.create(entry("dead", managed=True))
    assert await looking == {"foreign"}
