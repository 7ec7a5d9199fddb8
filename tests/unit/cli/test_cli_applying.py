"""Applying is all or nothing, and says what became of each resource. On a real store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cli_resources import NAMESPACE, virtual_service, written

from marline.api.resource import Ref
from marline.cli.apply import check, current, write
from marline.cli.batch import Item, make_batch
from marline.cli.exits import Failed
from marline.cli.files import read_files
from marline.store.embedded.store import EmbeddedStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    opened = await EmbeddedStore.open(tmp_path / "marline.db")
    yield opened
    await opened.close()


def batch(directory: Path, *documents: str) -> list[Item]:
    return make_batch(read_files((written(directory, "file.yaml", *documents),)), None)


async def applied(store: EmbeddedStore, items: list[Item], *, force: bool = False) -> list[str]:
    await check(store, items, force=force)
    return [outcome.action for outcome in await write(store, items, force=force)]


async def test_resources_are_created_then_unchanged_then_configured(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    assert await applied(store, batch(tmp_path, virtual_service("a"), virtual_service("b"))) == [
        "created",
        "created",
    ]
    changed = batch(tmp_path, virtual_service("a"), virtual_service("b", timeout="9s"))
    assert [outcome.action for outcome in await check(store, changed, force=False)] == [
        "unchanged",
        "configured",
    ]
    assert await applied(store, changed) == ["unchanged", "configured"]


async def test_a_check_changes_nothing(store: EmbeddedStore, tmp_path: Path) -> None:
    items = batch(tmp_path, virtual_service("a"))
    assert [outcome.action for outcome in await check(store, items, force=False)] == ["created"]
    assert await current(store, items[0].ref) is None


async def test_a_namespace_may_come_with_what_is_in_it(store: EmbeddedStore, tmp_path: Path) -> None:
    items = batch(tmp_path, virtual_service("a", "shop"), NAMESPACE)
    assert await applied(store, items) == ["created", "created"]


async def test_one_refusal_of_the_server_keeps_everything_from_being_applied(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    items = batch(tmp_path, virtual_service("a"), virtual_service("b", "nowhere"))
    with pytest.raises(Failed) as caught:
        await applied(store, items)
    assert "nothing was applied" in caught.value.message
    assert "file.yaml:11: Namespace nowhere was not found" in caught.value.message
    assert await current(store, items[0].ref) is None


async def test_fields_of_others_are_a_conflict_unless_taken_over(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    theirs = batch(tmp_path, virtual_service("a", timeout="1s"))[0]
    await store.apply(theirs.obj, field_manager="kubectl")
    ours = batch(tmp_path, virtual_service("a", timeout="2s"))
    with pytest.raises(Failed, match="kubectl") as caught:
        await applied(store, ours)
    assert "--force-conflicts" in caught.value.message
    assert await applied(store, ours, force=True) == ["configured"]
    found = await current(store, Ref("networking.istio.io", "VirtualService", "default", "a"))
    assert found is not None
    assert found.spec.http[0].timeout == 2.0


PART = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, labels: {team: b}}
"""


async def test_part_of_a_resource_is_merged_into_what_is_there(store: EmbeddedStore, tmp_path: Path) -> None:
    await store.apply(batch(tmp_path, virtual_service("a"))[0].obj, field_manager="kubectl")
    assert await applied(store, batch(tmp_path, PART)) == ["configured"]
    found = await current(store, Ref("networking.istio.io", "VirtualService", "default", "a"))
    assert found is not None
    assert (found.metadata.labels, found.spec.hosts) == ({"team": "b"}, ("reviews",))


async def test_what_the_server_refuses_is_said_at_its_line(store: EmbeddedStore, tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"file\.yaml:\d+ \(document 2\): spec: has no rule"):
        await applied(store, batch(tmp_path, virtual_service("b"), PART))
