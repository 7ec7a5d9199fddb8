"""How a child says that it is ready."""

import asyncio
import os
import socket
import stat
from pathlib import Path

import pytest

from marline.node.notify import READY, VARIABLE, NotifySocket, notify


async def test_a_child_that_is_ready_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, ready = tmp_path / "notify.sock", asyncio.Event()
    listener = NotifySocket(path, {READY: ready.set})
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        monkeypatch.setenv(VARIABLE, str(path))
        notify(READY)
        async with asyncio.timeout(10):
            await ready.wait()
    finally:
        listener.close()
    assert not path.exists()


async def test_other_words_of_systemds_protocol_are_no_readiness(tmp_path: Path) -> None:
    path, ready = tmp_path / "notify.sock", asyncio.Event()
    count = 0

    def hear() -> None:
        nonlocal count
        count += 1
        ready.set()

    listener = NotifySocket(path, {READY: hear})
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as child:
            child.connect(str(path))
            for message in (b"STATUS=READY=1", b"READY=0", b"", b"STATUS=up\nREADY=1\n"):
                child.sendall(message)
        async with asyncio.timeout(10):
            await ready.wait()
    finally:
        listener.close()
    assert count == 1


async def test_a_socket_of_the_abstract_namespace_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"marline/test/notify/{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{name}")
        monkeypatch.setenv(VARIABLE, f"@{name}")
        notify(READY)
        assert systemd.recv(100) == b"READY=1"


def test_nobody_is_told_where_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    notify(READY)
    monkeypatch.setenv(VARIABLE, "/no/such/socket")
    with pytest.raises(FileNotFoundError):
        notify(READY)
