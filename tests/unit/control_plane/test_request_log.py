"""How what Envoys have written gets into the log of requests: from their directories, through the spool."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from marline.compile.authorization_logs import AUDIT_FILE
from marline.control_plane.request_log import RequestLog
from marline.node import audit_spool
from marline.node.home import Home, MeshConfig
from marline.store.audit.anchors import REQUESTS, anchors_at_rest
from marline.store.audit.reading import records, verify
from marline.store.audit.records import Head
from marline.store.audit.requests import RequestRecord
from marline.store.embedded.state import State


def write(directory: Path, *names: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / AUDIT_FILE).open("a") as file:
        for name in names:
            file.write(json.dumps({"time": "2026-01-02T03:04:05Z", "kind": "request", "id": name}) + "\n")


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    (tmp_path / "data").mkdir()
    opened = await State.open(tmp_path / "data" / "marline.db")
    yield opened
    await opened.close()


async def opened(home: Home, state: State) -> RequestLog:
    return await RequestLog.open(home, MeshConfig("abcdef"), state)


def kept(home: Home) -> list[str]:
    return [record.id for record in records(home.requests, RequestRecord)]


async def test_what_is_taken_is_read_once_envoy_writes_to_another_file(tmp_path: Path, state: State) -> None:
    home = Home(tmp_path)
    log, directory = await opened(home, state), home.workloads / "a"
    write(directory, "1", "2")
    await log.once()
    (taken,) = home.request_spool.iterdir()
    assert kept(home) == [], "Envoy may still write to it"
    with taken.open("a") as file:
        file.write(json.dumps({"time": "2026-01-02T03:04:05Z", "kind": "request", "id": "3"}) + "\n")
    write(directory)
    await log.once()
    assert kept(home) == ["1", "2", "3"]
    assert not list(home.request_spool.iterdir())


async def test_the_store_knows_the_last_record(tmp_path: Path, state: State) -> None:
    home = Home(tmp_path)
    log = await opened(home, state)
    for number in range(3):
        write(home.workloads / "a", str(number))
        audit_spool.seal(home, home.workloads / "a")
        await log.once()
    head, floor = await state.audit_anchors(REQUESTS)
    assert head.seq == 3
    assert verify(home.requests, [head], floor).faults == ()
    await state.close()
    at_rest = await asyncio.to_thread(anchors_at_rest, home.database, REQUESTS)
    assert Head.parse(at_rest.head) == head
    (file,) = home.requests.glob("*.jsonl")
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:2]))
    assert "is missing" in verify(home.requests, [head], floor).faults[0].what


async def test_workloads_that_have_ended_leave_what_they_wrote(tmp_path: Path, state: State) -> None:
    home = Home(tmp_path)
    log = await opened(home, state)
    write(home.workloads / "a", "1")
    await log.once()
    write(home.workloads / "a", "2")
    audit_spool.seal(home, home.workloads / "a")
    write(home.workloads / "b", "3")
    assert audit_spool.take(home, home.workloads / "b") is not None
    for file in home.workloads.glob("*/*"):
        file.unlink()
    for directory in home.workloads.iterdir():
        directory.rmdir()
    await log.once()
    assert sorted(kept(home)) == ["1", "2", "3"]


async def test_nothing_written_is_nothing_taken(tmp_path: Path, state: State) -> None:
    home = Home(tmp_path)
    log = await opened(home, state)
    write(home.workloads / "a")
    await log.once()
    assert not home.request_spool.exists()
    assert (home.workloads / "a" / AUDIT_FILE).exists()


async def test_a_log_that_cannot_be_written_keeps_nobody_from_trying_again(
    tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    log = await opened(home, state)
    write(home.workloads / "a", "1")
    audit_spool.seal(home, home.workloads / "a")
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", _no_space)
        with pytest.raises(OSError, match="No space"):
            await log.once()
    await log.once()
    assert kept(home) == ["1"]


def _no_space(_: int) -> None:
    raise OSError(28, "No space left on device")
