"""Watch: the full state once, then every change, each once."""

import asyncio
from collections.abc import AsyncIterator

from store_objects import configmap, service

from marline.api.resource import Ref
from marline.mesh.model import ChangeSet
from marline.store.interface import ResourceStore

CONFIGMAPS = (("", "ConfigMap"),)


async def collect(watch: AsyncIterator[ChangeSet], version: str) -> dict[Ref, str | None]:
    """What a reader knows of each object when it has read up to a version: its version, or None."""
    seen: dict[Ref, str | None] = {}
    while True:
        change = await asyncio.wait_for(anext(watch), 10)
        for resource in change.changed:
            assert seen.get(resource.ref) != resource.metadata.resource_version, "the same event twice"
            seen[resource.ref] = resource.metadata.resource_version
        for ref in change.removed:
            assert seen.get(ref) is not None, "removed what was not there"
            seen[ref] = None
        if int(change.resource_version) >= int(version):
            return seen


async def test_first_change_is_the_full_state(store: ResourceStore) -> None:
    await store.create(configmap("a"))
    await store.create(service("s"))
    watch = store.watch((("", "ConfigMap"), ("", "Service")))
    first = await asyncio.wait_for(anext(watch), 10)
    assert {resource.name for resource in first.changed} == {"a", "s"}
    assert first.removed == ()
    await watch.aclose()


async def test_full_state_of_nothing_is_a_change_too(store: ResourceStore) -> None:
    watch = store.watch(CONFIGMAPS)
    assert (await asyncio.wait_for(anext(watch), 10)).changed == ()
    await watch.aclose()


async def test_every_change_is_seen(store: ResourceStore) -> None:
    watch = store.watch(CONFIGMAPS)
    await anext(watch)
    created = await store.create(configmap("a"))
    change = await asyncio.wait_for(anext(watch), 10)
    assert [resource.ref for resource in change.changed] == [created.ref]
    await store.update(configmap("a", {"k": "v"}))
    change = await asyncio.wait_for(anext(watch), 10)
    assert change.changed[0].spec.data == {"k": "v"}
    await store.delete(created.ref)
    change = await asyncio.wait_for(anext(watch), 10)
    assert change.removed == (created.ref,)
    await watch.aclose()


async def test_other_kinds_are_not_seen(store: ResourceStore) -> None:
    watch = store.watch(CONFIGMAPS)
    await anext(watch)
    await store.create(service("s"))
    await store.create(configmap("a"))
    change = await asyncio.wait_for(anext(watch), 10)
    assert [resource.kind for resource in change.changed] == ["ConfigMap"]
    await watch.aclose()


async def test_under_concurrent_writes_nothing_is_missed_or_repeated(store: ResourceStore) -> None:
    watch = store.watch(CONFIGMAPS)
    await anext(watch)

    async def write(name: str) -> None:
        created = await store.create(configmap(name))
        for number in range(3):
            await store.update(configmap(name, {"n": str(number)}))
        if name.endswith("0"):
            await store.delete(created.ref)

    await asyncio.gather(*(write(f"c{number}") for number in range(30)))
    listing = await store.list("", "ConfigMap")
    seen = await collect(watch, listing.resource_version)
    present = {item.ref: item.metadata.resource_version for item in listing.items}
    assert {ref: version for ref, version in seen.items() if version} == present
    await watch.aclose()
