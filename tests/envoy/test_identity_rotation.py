"""Certificates that change every two seconds, under load: nothing fails and no connection is dropped."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
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

from marline.identity.agent import Sign
from marline.identity.errors import SignFailed
from marline.identity.svid import SignedSvid

TTL = 4.0
"""Renewed after 1.6 to 2 seconds."""


@dataclass
class Load:
    """Requests one after the other, each client on one connection that it keeps."""

    ports: tuple[int, ...]
    done: int = 0
    failed: list[str] = field(default_factory=list)

    async def requests(self, port: int) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while True:
                try:
                    async with session.get(f"http://127.0.0.1:{port}/") as response:
                        if response.status != 200 or f"URI={CLIENT_ID}" not in await response.text():
                            self.failed.append(f"status {response.status}")
                except (aiohttp.ClientError, TimeoutError) as error:
                    self.failed.append(repr(error))
                self.done += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.requests(port)) for port in self.ports]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def pair(directory: Path, sign: Sign) -> AsyncIterator[tuple[Proxied, Proxied]]:
    """A client's and a server's Envoy."""
    async with (
        application() as app,
        proxied(directory / "server", server_resources(app), SERVER_ID, sign) as server,
    ):
        port = await server.envoy.listener_port("inbound")
        async with proxied(directory / "client", client_resources(port), CLIENT_ID, sign) as client:
            yield client, server


def mesh_signer(directory: Path, ttl: float = 3600.0) -> Sign:
    return signer(new_authority(directory / "ca", time.time()), time.time, ttl)


async def presented(port: int) -> bytes:
    """The certificate that a server presents to a new connection, as DER."""
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=anyone)
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return bytes(certificate)


@pytest.mark.slow
async def test_rotation_fails_no_request_and_drops_no_connection(tmp_path: Path) -> None:
    async with pair(tmp_path, mesh_signer(tmp_path, TTL)) as (client, server):
        kept, fresh = [await client.envoy.listener_port(name) for name in ("outbound", "fresh")]
        load = Load((kept, kept, fresh))
        seen = set()
        async with load.running():
            ends = time.monotonic() + 10
            while time.monotonic() < ends:
                seen.add(await presented(await server.envoy.listener_port("inbound")))
                await asyncio.sleep(0.2)
            connections = await client.envoy.stats("cluster.reviews.upstream_cx_total")
            handshakes = await client.envoy.stats("cluster.fresh.ssl.handshake")
            identity = await client.envoy.stats("cluster.sds-grpc.upstream_cx_total")
    assert load.failed == []
    assert load.done > 200
    assert len(seen) >= 5, "the certificates were not rotated"
    assert sum(connections.values()) <= 2, "connections were replaced"
    assert sum(handshakes.values()) > 50
    assert sum(identity.values()) == 1, "the connection to the SDS server was replaced"


async def test_new_connections_get_the_newest_certificate(tmp_path: Path) -> None:
    async with pair(tmp_path, mesh_signer(tmp_path, TTL)) as (_, server):
        port = await server.envoy.listener_port("inbound")
        first = server.source.current
        async with asyncio.timeout(10):
            while server.source.current is first:  # noqa: ASYNC110 (of another task)
                await asyncio.sleep(0.05)
        newest = server.source.current
        assert newest is not None
        expected = ssl.PEM_cert_to_DER_cert(newest.chain_pem[: newest.chain_pem.index("-----END") + 26])
        async with asyncio.timeout(1):
            while await presented(port) != expected:  # noqa: ASYNC110 (Envoy's)
                await asyncio.sleep(0.05)


async def test_an_envoy_waits_for_an_authority_that_is_away(tmp_path: Path) -> None:
    signed, absences = mesh_signer(tmp_path), 2

    async def sign(csr_pem: str, spiffe_id: str) -> SignedSvid:
        nonlocal absences
        if absences:
            absences -= 1
            raise SignFailed("the control plane is away")
        return await signed(csr_pem, spiffe_id)

    async with pair(tmp_path, sign) as (client, _):
        load = Load((await client.envoy.listener_port("outbound"),))
        async with load.running(), asyncio.timeout(5):
            while load.done < 5:  # noqa: ASYNC110 (of another task)
                await asyncio.sleep(0.02)
    assert (absences, load.failed) == (0, [])


async def test_the_last_good_certificate_serves_while_the_authority_is_away(tmp_path: Path) -> None:
    signed, asked = mesh_signer(tmp_path, TTL), 0

    async def sign(csr_pem: str, spiffe_id: str) -> SignedSvid:
        nonlocal asked
        asked += 1
        if asked > 2:  # the first of each
            raise SignFailed("the control plane is away")
        return await signed(csr_pem, spiffe_id)

    async with pair(tmp_path, sign) as (client, _):
        load = Load((await client.envoy.listener_port("fresh"),))
        async with load.running(), asyncio.timeout(10):
            while asked < 5:  # noqa: ASYNC110 (of another task)
                await asyncio.sleep(0.02)
        current = client.source.current
    assert current is not None
    assert time.time() < current.not_after
    assert load.done > 10
    assert load.failed == []
