"""Clients that hold connections, send slowly or ask too often: others are served meanwhile."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from access_objects import binding, group
from hypothesis import given
from hypothesis import strategies as st
from served_store import Served

from marline.store.embedded.credentials import ApiCredentials, User
from marline.store.embedded.http.connections import Limits
from marline.store.embedded.http.pace import Pace
from marline.store.embedded.server import serve
from marline.store.embedded.store import EmbeddedStore
from marline.store.interface import Unavailable
from marline.store.tokens import ADMINS

FEW = 8
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def strict(embedded: EmbeddedStore, tmp_path: Path) -> AsyncIterator[Served]:
    """A server with limits that a test can reach."""
    credentials = ApiCredentials.open(tmp_path / "api")
    limits = Limits(
        unknown_connections=FEW, connections_of_user=FEW, silent_seconds=0.3, handshake_seconds=0.3,
        requests_per_second=0.1, request_burst=FEW,
    )  # fmt: skip
    server = await serve(embedded, credentials=credentials, limits=limits)
    yield Served(embedded, server, credentials, tmp_path)
    await server.close()


async def connect(served: Served, user: str = "") -> Streams:
    tls = ssl.create_default_context(cadata=served.credentials.authority.decode())
    if user:
        pair = served.credentials.issue(User(user))
        (served.directory / "pair.pem").write_bytes(pair.certificate + pair.key)
        tls.load_cert_chain(served.directory / "pair.pem")
    return await asyncio.open_connection("127.0.0.1", served.server.port, ssl=tls)


async def ask(streams: Streams, *headers: str, path: str = "/version") -> bytes:
    reader, writer = streams
    lines = [f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]
    writer.write("\r\n".join(lines).encode())
    await writer.drain()
    return await asyncio.wait_for(reader.readline(), 10)


async def ended(streams: Streams) -> bool:
    """Whether the server ends the connection in time."""
    try:
        return await asyncio.wait_for(streams[0].read(), 10) == b""
    except ConnectionError:
        return True


async def is_served(served: Served) -> bool:
    async with served.client() as admin:
        return (await admin.list("", "Service")).items == ()


async def test_unknown_clients_push_out_one_another_and_nobody_who_is_known(strict: Served) -> None:
    alice = await connect(strict, "alice")
    assert b"200" in await ask(alice)
    token = strict.credentials.add_token(User("robot", (ADMINS,)))
    robot = await connect(strict)
    assert b"200" in await ask(robot, f"Authorization: Bearer {token}", path="/api/v1/services")
    many = [await connect(strict) for _ in range(3 * FEW)]
    assert [await ended(item) for item in many[: 2 * FEW]] == [True] * (2 * FEW)
    assert b"200" in await ask(many[-1])
    assert await is_served(strict)
    for known in (alice, robot):
        known[1].write(b"")
        assert not known[0].at_eof()


async def test_a_user_holds_so_many_connections_and_others_theirs(strict: Served) -> None:
    mine = [await connect(strict, "alice") for _ in range(FEW)]
    assert await ended(await connect(strict, "alice"))
    assert b"200" in await ask(mine[0])
    assert b"200" in await ask(await connect(strict, "bob"))


@pytest.mark.parametrize("sent", [b"", b"GET /version HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"\0" * 10])
async def test_who_does_not_ask_in_time_is_left(strict: Served, sent: bytes) -> None:
    reader, writer = await connect(strict)
    writer.write(sent)
    await asyncio.wait_for(_drained(reader), 10)


async def _drained(reader: asyncio.StreamReader) -> None:
    try:
        await reader.read()
    except ConnectionError:
        return


async def test_who_does_not_shake_hands_is_left(strict: Served) -> None:
    reader, _ = await asyncio.open_connection("127.0.0.1", strict.server.port)
    await asyncio.wait_for(_drained(reader), 10)


async def test_who_asks_too_often_is_told_to_wait_and_others_are_not(strict: Served) -> None:
    async with strict.client("alice", "x") as alice, strict.client("bob", "x") as bob:
        for _ in range(FEW):
            await alice.request("GET", "/apis")
        with pytest.raises(Unavailable, match="too many requests"):
            await alice.request("GET", "/apis")
        await bob.request("GET", "/apis")
    token = await ask(await connect(strict, "alice"), path="/apis")
    assert b"429" in token
    async with strict.client() as admin:
        for _ in range(3 * FEW):
            await admin.request("GET", "/apis")


async def test_guessing_tokens_is_slow(strict: Served) -> None:
    streams = await connect(strict)
    reader, _ = streams
    answers = []
    for number in range(FEW + 1):
        answers.append(await ask(streams, f"Authorization: Bearer {number}", path="/apis"))
        size = 0
        while (line := await reader.readline()) != b"\r\n":
            size = int(line.split()[1]) if line.lower().startswith(b"content-length") else size
        await reader.readexactly(size)
    assert b"401" in answers[0]
    assert b"429" in answers[-1]
    assert await is_served(strict)


async def test_headers_have_a_size(strict: Served) -> None:
    assert b"400" in await ask(await connect(strict), f"X-Long: {'a' * 40_000}")
    assert b"400" in await ask(await connect(strict), path="/" + "a" * 40_000)
    assert await is_served(strict)


async def test_roles_do_not_slow_down_with_their_number(strict: Served) -> None:
    """A user's roles are found by the user: those of others are not looked at."""
    for number in range(50):
        await strict.store.create(binding(f"b{number}", "view", group(f"g{number}"), kind="ClusterRole"))
    grants = list(strict.store.policy.grants_of(User("alice", ("g7",))))
    assert len(grants) == 1


@given(st.lists(st.floats(0, 2), max_size=50))
def test_no_one_gets_more_than_the_rate_and_one_burst(pauses: list[float]) -> None:
    pace, now, allowed = Pace(2.0, 5.0), 0.0, 0
    for pause in pauses:
        now += pause
        allowed += pace.take("a", now) == 0
    assert allowed <= 5 + 2 * now + 1e-6


@given(st.floats(0.1, 100), st.floats(1, 50), st.integers(1, 100))
def test_who_waits_as_told_may_ask(rate: float, burst: float, count: int) -> None:
    pace, now = Pace(rate, burst), 0.0
    for _ in range(count):
        wait = pace.take("a", now)
        if wait:
            now += wait * 1.001 + 1e-6
            assert pace.take("a", now) == 0
