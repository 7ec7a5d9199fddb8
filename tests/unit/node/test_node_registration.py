"""Registrations are kept true against a real store: made, changed, made again, refused, withdrawn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from marline.api.core import ServiceSpec
from marline.api.resource import Ref
from marline.node.register import Health, Registrar, Registration, RegistrationRefused
from marline.store.embedded.credentials import ApiCredentials, User, write_kubeconfig
from marline.store.embedded.server import serve
from marline.store.embedded.store import EmbeddedStore
from marline.store.interface import NotFound
from marline.store.remote.client import RemoteStore
from marline.store.tokens import ADMINS

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ENTRY = Ref("networking.istio.io", "WorkloadEntry", "shop", "web-abcde")
SERVICE = Ref("", "Service", "shop", "web")
READY = Health(True, "Ready")
PATIENCE = 20


def entry(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadEntry",
        "metadata": {
            "name": "web-abcde",
            "namespace": "shop",
            "annotations": {"marline.io/managed-by": "laptop"},
        },
        "spec": {"address": "127.0.0.1", "labels": {"app": "web"}, **spec},
    }


def service(*ports: int, ours: bool = True) -> dict[str, Any]:
    annotations = {"marline.io/managed-by": "laptop"} if ours else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop", "annotations": annotations},
        "spec": {
            "selector": {"app": "web"},
            "ports": [{"name": f"http-{port}", "port": port, "protocol": "TCP"} for port in ports],
        },
    }


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    opened = await EmbeddedStore.open(tmp_path / "store.db")
    yield opened
    await opened.close()


@pytest.fixture
async def registrar(store: EmbeddedStore) -> AsyncIterator[Registrar]:
    made = Registrar(store, lambda: NOW)
    watching = asyncio.create_task(made.run())
    yield made
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


@asynccontextmanager
async def registered(
    registrar: Registrar, entry: dict[str, Any], service: dict[str, Any] | None = None
) -> AsyncIterator[Registration]:
    made = registrar.register(entry, service)
    try:
        async with asyncio.timeout(PATIENCE):
            await made.settled()
        yield made
    finally:
        await registrar.withdraw(made, PATIENCE)


async def conditions(store: EmbeddedStore) -> list[tuple[str, str, str]]:
    found = await store.get(ENTRY)
    return [(item["type"], item["status"], item["reason"]) for item in found.status["conditions"]]


async def ports(store: EmbeddedStore) -> list[int]:
    spec = (await store.get(SERVICE)).spec
    assert isinstance(spec, ServiceSpec)
    return [port.port for port in spec.ports]


async def test_an_entry_is_there_and_unhealthy_until_it_is_said_to_be_healthy(
    store: EmbeddedStore, registrar: Registrar
) -> None:
    told: list[bool] = []
    async with registered(registrar, entry(), service(80)) as registration:
        assert await conditions(store) == [("Healthy", "False", "Starting")]
        assert await ports(store) == [80]
        registration.told = told.append
        for health in (READY, READY, Health(False, "NotReady", "port 80: Connection refused")):
            registration.set_health(health)
            await registration.settled()
        assert await conditions(store) == [("Healthy", "False", "NotReady")]
        assert told == [True, False]
    with pytest.raises(NotFound):
        await store.get(ENTRY)
    assert await ports(store) == [80], "a Service stays, as its users may refer to it"


async def test_an_entry_that_somebody_removed_is_there_again_with_its_health(
    store: EmbeddedStore, registrar: Registrar
) -> None:
    async with registered(registrar, entry()) as registration:
        registration.set_health(READY)
        await registration.settled()
        told = asyncio.Event()
        registration.told = lambda healthy: told.set()
        await store.delete(ENTRY)
        async with asyncio.timeout(PATIENCE):
            await told.wait()
        assert await conditions(store) == [("Healthy", "True", "Ready")]


async def test_a_namespace_that_somebody_removed_is_there_again(
    store: EmbeddedStore, registrar: Registrar
) -> None:
    async with registered(registrar, entry(), service(80)) as registration:
        told = asyncio.Event()
        registration.told = lambda healthy: told.set()
        await store.delete(Ref("", "Namespace", "", "shop"))
        async with asyncio.timeout(PATIENCE):
            await told.wait()
        assert await ports(store) == [80]


async def test_a_service_of_somebody_else_is_left_alone(store: EmbeddedStore, registrar: Registrar) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    await store.create(namespace)
    before = await store.create(service(80, ours=False))
    async with registered(registrar, entry(), service(80, 81)):
        after = await store.get(SERVICE)
        assert after.metadata.resource_version == before.metadata.resource_version


async def test_a_service_of_ours_gets_the_ports_that_it_lacks(
    store: EmbeddedStore, registrar: Registrar
) -> None:
    async with registered(registrar, entry(), service(80)):
        other = {**entry(), "metadata": {**entry()["metadata"], "name": "web-other"}}
        async with registered(registrar, other, service(81, 80)):
            assert await ports(store) == [80, 81]


async def test_what_the_control_plane_does_not_take_is_said(
    store: EmbeddedStore, registrar: Registrar
) -> None:
    with pytest.raises(RegistrationRefused, match=r"(?s)web-abcde cannot be registered: .*spec.address"):
        async with registered(registrar, entry(address="not an address")):
            pass


async def test_what_was_refused_for_a_time_is_tried_again(
    store: EmbeddedStore, registrar: Registrar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marline.node.register._LONGEST_PAUSE", 0.05)
    wrong = entry(address="not an address")
    registration = registrar.register(wrong, None)
    with pytest.raises(RegistrationRefused):
        await registration.settled()
    told = asyncio.Event()
    registration.told = lambda healthy: told.set()
    wrong["spec"]["address"] = "127.0.0.1"
    async with asyncio.timeout(PATIENCE):
        await told.wait()
    assert await conditions(store) == [("Healthy", "False", "Starting")]
    await registrar.withdraw(registration, PATIENCE)


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    return tmp_path / "kubeconfig"


@asynccontextmanager
async def served(
    store: EmbeddedStore, directory: Path, kubeconfig: Path, port: int = 0
) -> AsyncIterator[int]:
    """The store behind its API server; the port."""
    credentials = ApiCredentials.open(directory / "api")
    server = await serve(store, port=port, credentials=credentials)
    try:
        pair = credentials.issue(User("node", (ADMINS,)))
        write_kubeconfig(kubeconfig, f"https://127.0.0.1:{server.port}", credentials.authority, pair)
        yield server.port
    finally:
        await server.close()


async def test_what_changes_while_the_control_plane_is_away_is_written_when_it_is_back(
    store: EmbeddedStore, tmp_path: Path, kubeconfig: Path
) -> None:
    async with served(store, tmp_path, kubeconfig) as port:
        pass
    async with RemoteStore.from_kubeconfig(kubeconfig) as remote:
        registration = Registrar(remote, lambda: NOW).register(entry(), None)
        registration.set_health(READY)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await registration.settled()
        async with served(store, tmp_path, kubeconfig, port):
            async with asyncio.timeout(PATIENCE):
                await registration.settled()
            assert await conditions(store) == [("Healthy", "True", "Ready")]
        registration.set_health(Health(False, "Stopping"))
        await Registrar(remote).withdraw(registration, 0.3)  # patient for a time, and no error
    assert await conditions(store) == [("Healthy", "True", "Ready")]
