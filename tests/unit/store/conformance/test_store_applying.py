"""Server-side apply: fields have owners."""

import pytest
from store_objects import configmap, service, virtual_service

from marline.store.interface import Conflict, ResourceStore


async def test_apply_creates_then_changes(store: ResourceStore) -> None:
    assert (await store.apply(configmap("c", {"a": "1"}), field_manager="x")).spec.data == {"a": "1"}
    assert (await store.apply(configmap("c", {"a": "2"}), field_manager="x")).spec.data == {"a": "2"}


async def test_two_managers_own_different_keys(store: ResourceStore) -> None:
    await store.apply(configmap("c", {"a": "1"}), field_manager="x")
    both = await store.apply(configmap("c", {"b": "2"}), field_manager="y")
    assert both.spec.data == {"a": "1", "b": "2"}


async def test_what_a_manager_no_longer_applies_is_removed(store: ResourceStore) -> None:
    await store.apply(configmap("c", {"a": "1", "b": "2"}), field_manager="x")
    assert (await store.apply(configmap("c", {"a": "1"}), field_manager="x")).spec.data == {"a": "1"}


async def test_what_two_managers_apply_stays_until_both_let_go(store: ResourceStore) -> None:
    await store.apply(configmap("c", {"a": "1", "k": "v"}), field_manager="x")
    await store.apply(configmap("c", {"k": "v"}), field_manager="y")
    assert "k" in (await store.apply(configmap("c", {"a": "1"}), field_manager="x")).spec.data
    assert "k" not in (await store.apply(configmap("c"), field_manager="y")).spec.data


async def test_changing_the_field_of_another_conflicts_and_names_both(store: ResourceStore) -> None:
    await store.apply(virtual_service("a"), field_manager="x")
    with pytest.raises(Conflict) as caught:
        await store.apply(virtual_service("a", host="ratings"), field_manager="y")
    assert '"x"' in caught.value.message
    assert {cause["field"] for cause in caught.value.causes} == {".spec.hosts", ".spec.http"}
    assert {cause["reason"] for cause in caught.value.causes} == {"FieldManagerConflict"}


async def test_force_takes_the_field(store: ResourceStore) -> None:
    await store.apply(virtual_service("a"), field_manager="x")
    taken = await store.apply(virtual_service("a", host="ratings"), field_manager="y", force=True)
    assert taken.spec.hosts == ("ratings",)
    with pytest.raises(Conflict):
        await store.apply(virtual_service("a", host="details"), field_manager="x")


async def test_update_takes_the_fields_that_it_changes(store: ResourceStore) -> None:
    await store.apply(configmap("c", {"a": "1", "b": "1"}), field_manager="x")
    await store.update(configmap("c", {"a": "2", "b": "1"}))
    with pytest.raises(Conflict) as caught:
        await store.apply(configmap("c", {"a": "3", "b": "1"}), field_manager="x")
    assert [cause["field"] for cause in caught.value.causes] == [".data.a"]


async def test_ports_of_a_service_are_merged_by_number(store: ResourceStore) -> None:
    await store.apply(service("s", port=80), field_manager="x")
    other = service("s", port=81)
    other["spec"]["ports"][0]["name"] = "admin"
    both = await store.apply(other, field_manager="y")
    assert {port.port: port.name for port in both.spec.ports} == {80: "http", 81: "admin"}
    other["spec"]["ports"] = []
    left = await store.apply(other, field_manager="y")
    assert [port.port for port in left.spec.ports] == [80]


async def test_equal_apply_writes_nothing(store: ResourceStore) -> None:
    first = await store.apply(service("s"), field_manager="x")
    second = await store.apply(service("s"), field_manager="x")
    assert second.metadata.resource_version == first.metadata.resource_version


async def test_dry_run_reports_the_conflict_and_keeps_the_object(store: ResourceStore) -> None:
    first = await store.apply(virtual_service("a"), field_manager="x")
    with pytest.raises(Conflict):
        await store.apply(virtual_service("a", host="b"), field_manager="y", dry_run=True)
    planned = await store.apply(virtual_service("a", host="b"), field_manager="y", dry_run=True, force=True)
    assert planned.spec.hosts == ("b",)
    assert await store.get(first.ref) == first
