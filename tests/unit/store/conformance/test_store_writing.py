"""Create, update, delete: what every store does."""

import asyncio
import copy

import pytest
from store_objects import configmap, service, virtual_service

from marline.api.errors import InvalidResource
from marline.api.resource import Ref
from marline.store.interface import AlreadyExists, Conflict, NotFound, ResourceStore

VS = Ref("networking.istio.io", "VirtualService", "default", "a")


async def test_created_object_is_read_back(store: ResourceStore) -> None:
    created = await store.create(virtual_service("a", labels={"app": "x"}))
    found = await store.get(VS)
    assert found == created
    assert found.spec.hosts == ("reviews",)
    assert found.metadata.generation == 1
    assert found.metadata.uid
    assert found.metadata.creation_timestamp


async def test_absent_object_is_not_found(store: ResourceStore) -> None:
    with pytest.raises(NotFound) as caught:
        await store.get(VS)
    assert caught.value.ref == VS


async def test_second_create_is_refused(store: ResourceStore) -> None:
    await store.create(virtual_service("a"))
    with pytest.raises(AlreadyExists):
        await store.create(virtual_service("a"))


async def test_generated_names_differ_and_begin_alike(store: ResourceStore) -> None:
    obj = configmap("")
    obj["metadata"] = {"generateName": "run-", "namespace": "default"}
    names = {(await store.create(obj)).name for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("run-") for name in names)


async def test_invalid_object_names_every_field_at_fault(store: ResourceStore) -> None:
    wrong = virtual_service("a")
    wrong["spec"]["hosst"] = ["x"]
    wrong["spec"]["http"][0]["timeout"] = 7
    with pytest.raises(InvalidResource) as caught:
        await store.create(wrong)
    assert {error.path for error in caught.value.errors} == {"spec.hosst", "spec.http[0].timeout"}
    assert "hosts" in str(caught.value)


async def test_all_served_versions_are_one_object(store: ResourceStore) -> None:
    await store.create(virtual_service("a", version="v1alpha3"))
    found = await store.get(VS)
    assert found.version == "v1"
    changed = virtual_service("a", version="v1beta1", host="ratings")
    assert (await store.update(changed)).spec.hosts == ("ratings",)


async def test_generation_counts_changes_of_the_spec_only(store: ResourceStore) -> None:
    await store.create(virtual_service("a"))
    labelled = await store.update(virtual_service("a", labels={"a": "b"}))
    assert labelled.metadata.generation == 1
    changed = await store.update(virtual_service("a", host="ratings"))
    assert changed.metadata.generation == 2


async def test_update_without_a_change_writes_nothing(store: ResourceStore) -> None:
    first = await store.create(virtual_service("a"))
    second = await store.update(virtual_service("a"))
    assert second.metadata.resource_version == first.metadata.resource_version


async def test_stale_update_conflicts(store: ResourceStore) -> None:
    first = await store.create(virtual_service("a"))
    await store.update(virtual_service("a", host="ratings"))
    stale = virtual_service("a", host="details", resourceVersion=first.metadata.resource_version)
    with pytest.raises(Conflict):
        await store.update(stale)
    assert (await store.get(VS)).spec.hosts == ("ratings",)


async def test_of_many_writers_with_one_version_exactly_one_wins(store: ResourceStore) -> None:
    first = await store.create(configmap("c"))
    version = first.metadata.resource_version
    writes = [store.update(configmap("c", {"n": str(n)}, resourceVersion=version)) for n in range(20)]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert sum(isinstance(result, Conflict) for result in results) == 19
    (won,) = (result for result in results if not isinstance(result, BaseException))
    assert (await store.get(won.ref)).spec.data == won.spec.data


async def test_dry_run_says_what_would_be_and_changes_nothing(store: ResourceStore) -> None:
    planned = await store.create(service("s"), dry_run=True)
    assert planned.spec.cluster_ip
    with pytest.raises(NotFound):
        await store.get(planned.ref)
    await store.create(virtual_service("a"))
    assert (await store.update(virtual_service("a", host="x"), dry_run=True)).spec.hosts == ("x",)
    assert (await store.get(VS)).spec.hosts == ("reviews",)


async def test_status_is_written_apart_from_the_spec(store: ResourceStore) -> None:
    obj = virtual_service("a")
    obj["status"] = {"conditions": [{"type": "Made", "status": "Up"}]}
    assert (await store.create(obj)).status == {}
    written = await store.patch_status(VS, {"conditions": [{"type": "Programmed", "status": "True"}]})
    assert written.status["conditions"][0]["type"] == "Programmed"
    assert written.metadata.generation == 1
    kept = await store.update(virtual_service("a", host="ratings"))
    assert kept.status["conditions"][0]["type"] == "Programmed"


async def test_null_in_a_status_patch_removes(store: ResourceStore) -> None:
    await store.create(virtual_service("a"))
    await store.patch_status(VS, {"a": 1, "b": 2})
    assert (await store.patch_status(VS, {"a": None})).status == {"b": 2}


async def test_deleted_object_is_gone(store: ResourceStore) -> None:
    await store.create(virtual_service("a"))
    await store.delete(VS)
    with pytest.raises(NotFound):
        await store.get(VS)
    with pytest.raises(NotFound):
        await store.delete(VS)


async def test_delete_with_a_stale_version_conflicts(store: ResourceStore) -> None:
    first = await store.create(virtual_service("a"))
    await store.update(virtual_service("a", host="ratings"))
    with pytest.raises(Conflict):
        await store.delete(VS, resource_version=first.metadata.resource_version)
    await store.delete(VS, resource_version=(await store.get(VS)).metadata.resource_version)


async def test_object_in_an_unknown_namespace_is_refused(store: ResourceStore) -> None:
    with pytest.raises(NotFound) as caught:
        await store.create(service("s", namespace="nowhere"))
    assert caught.value.ref == Ref("", "Namespace", "", "nowhere")


async def test_writing_leaves_the_argument_alone(store: ResourceStore) -> None:
    obj = service("s")
    before = copy.deepcopy(obj)
    await store.create(obj)
    await store.apply(obj, field_manager="x", force=True)
    assert obj == before


async def test_list_is_by_kind_namespace_and_labels(store: ResourceStore) -> None:
    await store.create(configmap("b", labels={"app": "x"}))
    await store.create(configmap("a", labels={"app": "y"}))
    await store.create(service("s"))
    everything = await store.list("", "ConfigMap")
    assert [item.name for item in everything.items] == ["a", "b"]
    assert [item.name for item in (await store.list("", "ConfigMap", "default", "app=x")).items] == ["b"]
    assert (await store.list("", "ConfigMap", "istio-system")).items == ()
    assert int(everything.resource_version) >= int(everything.items[0].metadata.resource_version)
