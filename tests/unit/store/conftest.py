"""Stores to test: the embedded one in a temporary file, and a client of it over HTTPS."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from served_store import Served

from marline.store.embedded.credentials import ApiCredentials
from marline.store.embedded.server import serve
from marline.store.embedded.store import EmbeddedStore
from marline.store.interface import ResourceStore
from marline.store.remote.client import RemoteStore


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
