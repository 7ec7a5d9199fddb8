"""Finalizers, namespaces and owners: what goes when an object goes."""

import pytest
from store_objects import configmap, namespace, service

from marline.api.resource import Ref
from marline.store.interface import AlreadyExists, Forbidden, NotFound, ResourceStore

C = Ref("", "ConfigMap", "default", "c")


async def test_finalizer_holds_an_object_until_it_is_removed(store: ResourceStore) -> None:
    await store.create(configmap("c", finalizers=["example.com/hold"]))
    await store.delete(C)
    held = await store.get(C)
    assert held.metadata.deletion_timestamp
    await store.update(configmap("c"))
    with pytest.raises(NotFound):
        await store.get(C)


async def test_object_being_deleted_takes_no_new_finalizer(store: ResourceStore) -> None:
    await store.create(configmap("c", finalizers=["example.com/hold"]))
    await store.delete(C)
    with pytest.raises(Forbidden):
        await store.update(configmap("c", finalizers=["example.com/hold", "example.com/more"]))
    with pytest.raises(AlreadyExists):
        await store.create(configmap("c"))


async def test_namespace_takes_its_contents_along(store: ResourceStore) -> None:
    await store.create(namespace("team"))
    first = await store.create(service("a", namespace="team"))
    second = await store.create(service("b", namespace="team"))
    await store.delete(Ref("", "Namespace", "", "team"))
    for ref in (Ref("", "Namespace", "", "team"), first.ref, second.ref):
        with pytest.raises(NotFound):
            await store.get(ref)


async def test_namespace_waits_for_held_contents_and_takes_nothing_new(store: ResourceStore) -> None:
    await store.create(namespace("team"))
    held = configmap("c", namespace="team", finalizers=["example.com/hold"])
    await store.create(held)
    await store.delete(Ref("", "Namespace", "", "team"))
    assert (await store.get(Ref("", "Namespace", "", "team"))).status["phase"] == "Terminating"
    with pytest.raises(Forbidden):
        await store.create(service("a", namespace="team"))
    await store.update(configmap("c", namespace="team"))
    with pytest.raises(NotFound):
        await store.get(Ref("", "Namespace", "", "team"))


@pytest.mark.parametrize("name", ["default", "istio-system", "kube-system"])
async def test_first_namespaces_exist_and_stay(store: ResourceStore, name: str) -> None:
    ref = Ref("", "Namespace", "", name)
    assert (await store.get(ref)).status == {"phase": "Active"}
    with pytest.raises(Forbidden):
        await store.delete(ref)


async def test_dependent_goes_with_its_last_owner(store: ResourceStore) -> None:
    owners = [await store.create(configmap(name)) for name in ("o1", "o2")]
    references = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": owner.name, "uid": owner.metadata.uid}
        for owner in owners
    ]
    dependent = await store.create(configmap("c", ownerReferences=references))
    await store.delete(owners[0].ref)
    left = await store.get(dependent.ref)
    assert [item.name for item in left.metadata.owner_references] == ["o2"]
    await store.delete(owners[1].ref)
    with pytest.raises(NotFound):
        await store.get(dependent.ref)
