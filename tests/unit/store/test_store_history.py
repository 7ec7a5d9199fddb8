"""Changes that are known again after a restart, and those that are forgotten."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from store_objects import configmap

from marline.api.resource import Ref
from marline.store.embedded.store import EmbeddedStore
from marline.store.interface import Conflict, Expired, Unavailable


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    store = await EmbeddedStore.open(path)
    made = [await store.create(configmap(f"c{number}", labels={"n": str(number)})) for number in range(5)]
    await store.delete(made[0].ref)
    version = store.state.resource_version
    await store.close()
    again = await EmbeddedStore.open(path)
    assert again.state.resource_version == version
    assert (await again.list("", "ConfigMap")).items == tuple(made[1:])
    events = again.state.history.after(int(made[3].metadata.resource_version or 0))
    assert [(event.type, event.stored.ref.name) for event in events] == [("ADDED", "c4"), ("DELETED", "c0")]
    assert events[1].old_labels == {"n": "0"}
    await again.close()


async def test_versions_grow_over_restarts(tmp_path: Path) -> None:
    versions = []
    for number in range(3):
        store = await EmbeddedStore.open(tmp_path / "m.db")
        made = await store.create(configmap(f"c{number}"))
        versions.append(int(made.metadata.resource_version))
        await store.close()
    assert versions == sorted(set(versions))


async def test_forgotten_versions_are_expired(tmp_path: Path) -> None:
    store = await EmbeddedStore.open(tmp_path / "m.db", history=10)
    made = await store.create(configmap("c"))
    for number in range(40):
        await store.update(configmap("c", {"n": str(number)}))
    with pytest.raises(Expired):
        store.state.history.after(int(made.metadata.resource_version))
    assert len(store.state.history) <= 20
    floor = store.state.history.floor
    assert next(event.rv for event in store.state.history.after(floor)) == floor + 1
    await store.close()
    again = await EmbeddedStore.open(tmp_path / "m.db", history=10)
    with pytest.raises(Expired):
        again.state.history.after(floor - 1)
    assert again.state.history.after(floor)
    await again.close()


async def test_version_of_the_future_is_expired(embedded: EmbeddedStore) -> None:
    with pytest.raises(Expired):
        embedded.state.history.after(embedded.state.resource_version + 1)


async def test_past_states_can_be_listed(embedded: EmbeddedStore) -> None:
    await embedded.create(configmap("a", {"n": "1"}))
    await embedded.create(configmap("b"))
    then = embedded.state.resource_version
    await embedded.update(configmap("a", {"n": "2"}))
    await embedded.delete(Ref("", "ConfigMap", "default", "b"))
    await embedded.create(configmap("c"))
    past = embedded.state.snapshot("", "ConfigMap", "", then)
    assert [(item.ref.name, item.obj["data"]) for item in past] == [("a", {"n": "1"}), ("b", {})]


async def test_slow_reader_of_a_watch_gets_the_full_state_again(tmp_path: Path) -> None:
    store = await EmbeddedStore.open(tmp_path / "m.db", history=5)
    gone = await store.create(configmap("gone"))
    watch = store.watch((("", "ConfigMap"),))
    assert len((await anext(watch)).changed) == 1
    await store.delete(gone.ref)
    for number in range(30):
        await store.create(configmap(f"c{number}"))
    change = await asyncio.wait_for(anext(watch), 10)
    assert change.removed == (gone.ref,)
    assert len(change.changed) == 30
    await watch.aclose()
    await store.close()


async def test_file_has_one_user_at_a_time_and_is_private(embedded: EmbeddedStore, tmp_path: Path) -> None:
    await embedded.create(configmap("c"))
    paths = [entry.path for entry in os.scandir(tmp_path) if entry.name.startswith("marline.db")]
    assert paths
    for path in paths:
        assert os.stat(path).st_mode & 0o077 == 0, path  # noqa: PTH116
    with pytest.raises(Unavailable, match="locked"):
        await EmbeddedStore.open(tmp_path / "marline.db")


async def test_writes_are_on_disk_before_they_are_acknowledged(embedded: EmbeddedStore) -> None:
    connection = embedded.state._database._connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    full = 2
    assert connection.execute("PRAGMA synchronous").fetchone() == (full,)


async def test_what_a_write_was_refused_for_can_be_read(embedded: EmbeddedStore) -> None:
    made = await embedded.create(configmap("a"))
    stale = configmap("a", {"by": "loser"}, resourceVersion=made.metadata.resource_version)

    async def lose() -> Any:
        with pytest.raises(Conflict):
            await embedded.update(stale)
        return (await embedded.get(made.ref)).spec.data

    _, read = await asyncio.gather(embedded.update(configmap("a", {"by": "winner"})), lose())
    assert read == {"by": "winner"}


async def test_failed_write_is_not_visible_and_the_store_goes_on(
    embedded: EmbeddedStore, tmp_path: Path
) -> None:
    """SQLite refuses to grow the file, as it does when a disk is full."""
    connection = embedded.state._database._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    big = {"k": "x" * 200_000}
    with pytest.raises(Unavailable, match="full"):
        await embedded.create(configmap("big", big))
    assert (await embedded.list("", "ConfigMap")).items == ()
    connection.execute("PRAGMA max_page_count = 1000000")
    await embedded.create(configmap("big", big))
    assert [item.name for item in (await embedded.list("", "ConfigMap")).items] == ["big"]
