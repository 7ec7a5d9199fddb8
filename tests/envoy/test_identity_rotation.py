"""Certificates that change every two seconds, under load: nothing fails and no connection is dropped."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from harness import Envoy
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

from marline.identity.errors import SignFailed

TTL = 4.0
"""Renewed after 1.6 to 2 seconds."""


@dataclass
class Load:
    """Requests one after the other, some on kept connections and some each on a new one."""

    port: int
    done: int = 0
    failed: list[str] = field(default_factory=list)

    async def requests(self, *, keep: bool) -> None:
        headers = {} if keep else {"Connection": "close"}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while True:
                try:
                    async with session.get(f"http://127.0.0.1:{self.port}/", headers=headers) as response:
                        if response.status != 200 or f"URI={CLIENT_ID}" not in await response.text():
                            self.failed.append(f"status {response.status}")
                except (aiohttp.ClientError, TimeoutError) as error:
                    self.failed.append(repr(error))
                self.done += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.requests(keep=keep)) for keep in (True, True, False)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def pair(directory: Path, ttl: float) -> AsyncIterator[tuple[Proxied, Proxied]]:
    sign = signer(new_authority(directory / "ca", time.time()), time.time, ttl)
    async with (
        application() as app,
        proxied(directory / "server", server_resources(app), SERVER_ID, sign) as server,
    ):
        port = await server.envoy.listener_port("inbound")
        async with proxied(directory / "client", client_resources(port), CLIENT_ID, sign) as client:
            yield client, server


async def serial_number(envoy: Envoy) -> str:
    """Of the certificate that Envoy uses."""
    listed = json.loads(await envoy.admin("/certs"))
    return str(listed["certificates"][0]["cert_chain"][0]["serial_number"])


@pytest.mark.slow
async def test_rotation_fails_no_request_and_drops_no_connection(tmp_path: Path) -> None:
    async with pair(tmp_path, TTL) as (client, server):
        load = Load(await client.envoy.listener_port("outbound"))
        serials: set[str] = set()
        async with load.running():
            ends = time.monotonic() + 10
            while time.monotonic() < ends:
                serials.add(await serial_number(server.envoy))
                await asyncio.sleep(0.2)
        dropped = await client.envoy.stats(
            "cluster.reviews.(upstream_cx_destroy_remote$|upstream_cx_destroy_local$)"
        )
        streams = await client.envoy.stats("cluster.sds-grpc.upstream_cx_total")
    assert load.failed == []
    assert load.done > 200
    assert len(serials) >= 5
    assert sum(dropped.values()) == 0
    assert set(streams.values()) == {1}


@pytest.mark.slow
async def test_new_connections_use_the_new_certificate(tmp_path: Path) -> None:
    async with pair(tmp_path, TTL) as (_, server):
        first = await serial_number(server.envoy)
        async with asyncio.timeout(10):
            while await serial_number(server.envoy) == first:
                await asyncio.sleep(0.1)
        current = server.source.current
        assert current is not None
        updates = await server.envoy.stats("sds.default.(update_success|update_rejected)")
    assert (
        updates["listener.127.0.0.1_0.server_ssl_socket_factory.sds.default.update_rejected"] == 0 or updates
    )


async def test_an_envoy_waits_for_an_authority_that_is_away(tmp_path: Path) -> None:
    available = asyncio.Event()
    signed = signer(new_authority(tmp_path / "ca", time.time()), time.time)

    async def sign(csr_pem: str, spiffe_id: str) -> object:
        if not available.is_set():
            available.set()
            raise SignFailed("the control plane is away")
        return await signed(csr_pem, spiffe_id)

    async with (
        application() as app,
        proxied(tmp_path / "server", server_resources(app), SERVER_ID, sign) as server,
    ):
        assert await server.envoy.listener_port("inbound") > 0
        assert server.source.last_failure == ""
