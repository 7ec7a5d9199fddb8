"""Who is let in by an Envoy whose identity comes from the SDS server."""

import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from identity_mesh import (
    CLIENT_ID,
    SERVER_ID,
    Proxied,
    application,
    client_resources,
    new_authority,
    proxied,
    server_resources,
    signer,
)


@dataclass
class Server:
    proxied: Proxied
    port: int


@asynccontextmanager
async def server(directory: Path) -> AsyncIterator[Server]:
    authority = new_authority(directory / "ca", time.time())
    sign = signer(authority, time.time)
    async with (
        application() as app,
        proxied(directory / "server", server_resources(app), SERVER_ID, sign) as running,
    ):
        yield Server(running, await running.envoy.listener_port("inbound"))


async def ask(port: int) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as response:
        return response.status, await response.text()


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[tuple[Path, Server]]:
    async with AsyncExitStack() as stack:
        yield tmp_path, await stack.enter_async_context(server(tmp_path))


async def test_the_server_learns_the_identity_of_its_caller(mesh: tuple[Path, Server]) -> None:
    directory, running = mesh
    sign = signer(new_authority(directory / "ca", time.time()), time.time)
    async with proxied(directory / "client", client_resources(running.port), CLIENT_ID, sign) as client:
        status, seen = await ask(await client.envoy.listener_port("outbound"))
    assert status == 200
    by, _, uri = seen.split(";")
    assert (by, uri) == (f"By={SERVER_ID}", f"URI={CLIENT_ID}")


async def test_a_server_of_another_identity_than_expected_is_not_called(mesh: tuple[Path, Server]) -> None:
    directory, running = mesh
    sign = signer(new_authority(directory / "ca", time.time()), time.time)
    resources = client_resources(running.port, [SERVER_ID.replace("reviews", "ratings")])
    async with proxied(directory / "client", resources, CLIENT_ID, sign) as client:
        status, _ = await ask(await client.envoy.listener_port("outbound"))
        failures = await client.envoy.stats("ssl.fail_verify_san")
    assert status == 503
    assert sum(failures.values()) > 0


async def test_a_client_of_another_authority_is_refused(mesh: tuple[Path, Server]) -> None:
    directory, running = mesh
    # It trusts the server, so that it is the server that refuses.
    bundle = new_authority(directory / "ca", time.time()).bundle_pem
    foreign = signer(new_authority(directory / "other-ca", time.time()), time.time)

    async def sign(csr_pem: str, spiffe_id: str) -> object:
        signed = await foreign(csr_pem, spiffe_id)
        return type(signed)(signed.chain_pem, signed.bundle_pem + bundle, signed.not_after)

    async with proxied(directory / "client", client_resources(running.port), CLIENT_ID, sign) as client:
        status, _ = await ask(await client.envoy.listener_port("outbound"))
    failures = await running.proxied.envoy.stats("ssl.fail_verify_error")
    assert status == 503
    assert sum(failures.values()) > 0


async def test_a_plain_text_client_is_refused(mesh: tuple[Path, Server]) -> None:
    _, running = mesh
    with pytest.raises(aiohttp.ClientError):
        await ask(running.port)


async def test_a_client_without_certificate_is_refused(mesh: tuple[Path, Server]) -> None:
    _, running = mesh
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(aiohttp.ClientError):
        async with aiohttp.ClientSession() as session:
            await session.get(f"https://127.0.0.1:{running.port}/", ssl=anyone)
    failures = await running.proxied.envoy.stats("ssl.fail_verify_no_cert")
    assert sum(failures.values()) > 0
