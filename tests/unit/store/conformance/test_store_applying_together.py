"""Several resources are applied at one moment, all or none."""

import asyncio
from typing import Any

import pytest
from store_objects import configmap, namespace, service, virtual_service

from marline.api.errors import InvalidResource
from marline.api.resource import Ref
from marline.store.interface import Conflict, NotFound, ResourceStore

CONFIGMAPS = (("", "ConfigMap"), ("", "Service"))


async def apply(store: ResourceStore, *objs: dict[str, Any], manager: str = "x", force: bool = False) -> Any:
    return await store.apply_all(objs, field_manager=manager, force=force)


def broken() -> dict[str, Any]:
    made = virtual_service("broken")
    made["spec"]["http"] = [{"timeout": "soon"}]
    return made


async def test_all_are_created_or_changed(store: ResourceStore) -> None:
    await store.apply(configmap("a", {"k": "1"}), field_manager="x")
    first, second = await apply(store, configmap("a", {"k": "2"}), service("s"))
    assert (first.spec.data, second.name) == ({"k": "2"}, "s")
    assert (await store.get(first.ref)).spec.data == {"k": "2"}


async def test_who_watches_sees_them_together(store: ResourceStore) -> None:
    watch = store.watch(CONFIGMAPS)
    await anext(watch)
    objs = [configmap(f"c{number}") for number in range(5)]
    applied = await apply(store, *objs, service("s"))
    change = await asyncio.wait_for(anext(watch), 10)
    seen = {item.ref for item in change.changed}
    while not seen >= {item.ref for item in applied}:
        # A remote watch of several kinds has a stream for each.
        change = await asyncio.wait_for(anext(watch), 10)
        seen |= {item.ref for item in change.changed}
    await watch.aclose()


async def test_a_namespace_may_come_with_what_is_in_it(store: ResourceStore) -> None:
    await apply(store, namespace("shop"), service("s", namespace="shop"))
    assert (await store.get(Ref("", "Service", "shop", "s"))).name == "s"


async def test_one_refusal_leaves_everything_as_it_was(store: ResourceStore) -> None:
    old = await store.apply(configmap("a", {"k": "1"}), field_manager="x")
    taken = await store.create(service("taken"))
    address = taken.spec.cluster_ip
    for wrong, error in (
        (broken(), InvalidResource),
        (service("s", namespace="nowhere"), NotFound),
        (service("other", clusterIP=address), InvalidResource),
    ):
        with pytest.raises(error):
            await apply(store, configmap("a", {"k": "2"}), service("new"), wrong)
        assert (await store.get(old.ref)).metadata == old.metadata
        with pytest.raises(NotFound):
            await store.get(Ref("", "Service", "default", "new"))
    # What was given up holds no name and no address either.
    await store.create(service("new"))


async def test_a_conflict_names_its_resource(store: ResourceStore) -> None:
    await store.apply(virtual_service("a"), field_manager="x")
    with pytest.raises(Conflict) as caught:
        await apply(store, service("s"), virtual_service("a", host="ratings"), manager="y")
    assert caught.value.ref.name == "a"
    assert {cause["field"] for cause in caught.value.causes} == {".spec.hosts", ".spec.http"}
    await apply(store, service("s"), virtual_service("a", host="ratings"), manager="y", force=True)


async def test_other_writers_go_on_beside_a_refused_one(store: ResourceStore) -> None:
    writes = [store.apply(configmap(f"c{number}"), field_manager="x") for number in range(10)]
    refused = [apply(store, configmap(f"c{number}", {"k": "v"}), broken()) for number in range(10)]
    results = await asyncio.gather(*writes, *refused, return_exceptions=True)
    assert [type(item) for item in results[10:]] == [InvalidResource] * 10
    for number in range(10):
        assert (await store.get(Ref("", "ConfigMap", "default", f"c{number}"))).spec.data == {}
