"""Many writers of one object: with resourceVersions and retries, none undoes another's write."""

import asyncio
from typing import Any

from store_objects import configmap

from marline.api.decode import encode
from marline.api.resource import Ref
from marline.store.interface import Conflict, ResourceStore

WRITERS, TIMES = 20, 3
COUNTER = Ref("", "ConfigMap", "default", "counter")


async def increment(store: ResourceStore) -> int:
    """Returns how many tries it took."""
    tries = 0
    while True:
        tries += 1
        obj: dict[str, Any] = encode(await store.get(COUNTER))
        annotations = obj["metadata"]["annotations"]
        annotations["count"] = str(int(annotations["count"]) + 1)
        try:
            await store.update(obj)
        except Conflict:
            continue
        return tries


async def test_twenty_writers_lose_no_increment(store: ResourceStore) -> None:
    await store.create(configmap("counter", annotations={"count": "0"}))

    async def write() -> int:
        return sum([await increment(store) for _ in range(TIMES)])

    tries = await asyncio.wait_for(asyncio.gather(*(write() for _ in range(WRITERS))), 60)
    found = await store.get(COUNTER)
    assert found.metadata.annotations["count"] == str(WRITERS * TIMES)
    assert sum(tries) > WRITERS * TIMES, "no two writers ever met"


async def test_twenty_appliers_of_one_object_each_keep_their_field(store: ResourceStore) -> None:
    async def apply(number: int) -> None:
        await store.apply(configmap("shared", {f"k{number}": str(number)}), field_manager=f"m{number}")

    await asyncio.gather(*(apply(number) for number in range(WRITERS)))
    found = await store.get(Ref("", "ConfigMap", "default", "shared"))
    assert found.spec.data == {f"k{number}": str(number) for number in range(WRITERS)}


async def test_of_many_creators_one_wins(store: ResourceStore) -> None:
    made = await asyncio.gather(
        *(store.create(configmap("one", {"by": str(number)})) for number in range(WRITERS)),
        return_exceptions=True,
    )
    winners = [item for item in made if not isinstance(item, BaseException)]
    assert len(winners) == 1
    assert (await store.get(winners[0].ref)).spec == winners[0].spec
