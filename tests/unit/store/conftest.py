"""Stores to test: the embedded one in a temporary file, and a client of it over HTTPS."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from marline.store.embedded.credentials import ADMINS, ApiCredentials, User, write_kubeconfig
from marline.store.embedded.server import RunningServer, serve
from marline.store.embedded.store import EmbeddedStore
from marline.store.interface import ResourceStore
from marline.store.remote.client import RemoteStore


@dataclass
class Served:
    """A served store and how to reach it."""

    store: EmbeddedStore
    server: RunningServer
    credentials: ApiCredentials
    directory: Path

    def client(self, user: str = "admin", *groups: str) -> RemoteStore:
        path = self.directory / f"kubeconfig-{user}"
        pair = self.credentials.issue(User(user, groups or (ADMINS,)))
        address = f"https://127.0.0.1:{self.server.port}"
        write_kubeconfig(path, address, self.credentials.authority, pair)
        return RemoteStore.from_kubeconfig(path)


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    store = await EmbeddedStore.open(tmp_path / "marline.db")
    yield store
    await store.close()


@pytest.fixture
async def served(embedded: EmbeddedStore, tmp_path: Path) -> AsyncIterator[Served]:
    credentials = ApiCredentials.open(tmp_path / "api")
    server = await serve(embedded, credentials=credentials)
    yield Served(embedded, server, credentials, tmp_path)
    await server.close()


@pytest.fixture
async def client(served: Served) -> AsyncIterator[RemoteStore]:
    async with served.client() as store:
        yield store


@pytest.fixture(params=["embedded", "remote"])
async def store(request: pytest.FixtureRequest, served: Served) -> AsyncIterator[ResourceStore]:
    """Every implementation of `ResourceStore`."""
    if request.param == "embedded":
        yield served.store
    else:
        async with served.client() as remote:
            yield remote
