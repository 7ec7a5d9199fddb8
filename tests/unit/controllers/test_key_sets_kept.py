"""The key sets of RequestAuthentications: fetched, delivered, kept on disk, and told of in a condition."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marline.api.decode import decode
from marline.api.resource import Ref, Resource
from marline.api.security.jwks import KeySet
from marline.controllers.key_sets import KeySets
from marline.identity.jwks import KeysUnavailable
from marline.identity.key_refresh import KeyRefresh
from marline.mesh.model import ChangeSet
from marline.mesh.token_keys import FetchedKeys, KeySource

KEYS = '{"keys":[{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
URL = "https://issuer.example.com/keys"
SOURCE = KeySource(URL)


def policy(name: str = "own", **rule: Any) -> Resource[Any]:
    return decode(
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "RequestAuthentication",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"jwtRules": [rule or {"jwksUri": URL}]},
        }
    )


@dataclass
class World:
    """An issuer that answers with a key set, or fails, and those who hear."""

    answer: str = KEYS
    fault: str = ""
    asked: int = 0
    delivered: list[FetchedKeys] = field(default_factory=list)
    told: list[Ref] = field(default_factory=list)
    happened: asyncio.Event = field(default_factory=asyncio.Event)

    async def fetch(self, source: KeySource) -> KeySet:
        self.asked += 1
        if self.fault:
            raise KeysUnavailable(source.url, self.fault)
        return KeySet(self.answer)

    async def deliver(self, keys: FetchedKeys) -> None:
        self.delivered.append(keys)

    def tell(self, refs: Any) -> None:
        self.told.extend(refs)
        self.happened.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                self.happened.clear()
                await self.happened.wait()


@asynccontextmanager
async def running(directory: Path, world: World, seconds: float = 999.0) -> AsyncIterator[KeySets]:
    refresh = KeyRefresh(lambda: 0.0, seconds)
    made = KeySets(directory / "jwks", world.fetch, world.deliver, world.tell, refresh)
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()


def kept(directory: Path) -> list[Path]:
    return list(directory.glob("jwks/*.json"))


def spoil(file: Path) -> None:
    file.write_text("nonsense")


def said(found: dict[str, Any] | None) -> tuple[str, str]:
    assert found is not None
    return found["status"], found["reason"]


async def test_keys_are_fetched_delivered_and_told(tmp_path: Path) -> None:
    world, item = World(), policy()
    async with running(tmp_path, world) as sets:
        assert (await sets.provide(ChangeSet((item,)))).keys == ()
        assert said(sets.condition(item.ref)) == ("False", "Pending")
        await world.until(lambda: bool(world.told))
        assert world.delivered == [FetchedKeys(SOURCE, KEYS)]
        assert world.told == [item.ref]
        assert said(sets.condition(item.ref)) == ("True", "Fetched")
        other = policy("other")
        assert (await sets.provide(ChangeSet((other,)))).keys == (FetchedKeys(SOURCE, KEYS),)
        assert said(sets.condition(policy("inline", issuer="a", jwks=KEYS).ref)) == ("True", "Inline")


async def test_what_cannot_be_fetched_is_told_and_the_last_good_keys_stay(tmp_path: Path) -> None:
    world, item = World(fault="is away"), policy()
    async with running(tmp_path, world, seconds=0.01) as sets:
        await sets.provide(ChangeSet((item,)))
        await world.until(lambda: bool(world.told))
        condition = sets.condition(item.ref)
        assert said(condition) == ("False", "Unavailable")
        assert condition is not None
        assert "is away" in condition["message"]
        world.fault = ""
        await world.until(lambda: said(sets.condition(item.ref)) == ("True", "Fetched"))
        world.fault = "is away again"
        await world.until(lambda: said(sets.condition(item.ref)) == ("True", "Stale"))
        assert world.delivered == [FetchedKeys(SOURCE, KEYS)]


async def test_after_a_restart_the_last_good_keys_are_there_though_the_issuer_is_not(tmp_path: Path) -> None:
    item = policy()
    world = World()
    async with running(tmp_path, world) as sets:
        await sets.provide(ChangeSet((item,)))
        await world.until(lambda: bool(world.told))
    (file,) = kept(tmp_path)
    assert file.stat().st_mode & 0o077 == 0
    world = World(fault="is away")
    async with running(tmp_path, world) as sets:
        assert (await sets.provide(ChangeSet((item,)))).keys == (FetchedKeys(SOURCE, KEYS),)
        await sets.provide(ChangeSet((), (item.ref,)))
        assert kept(tmp_path) == []
    spoil(file)
    async with running(tmp_path, world) as sets:
        assert (await sets.provide(ChangeSet((item,)))).keys == ()
