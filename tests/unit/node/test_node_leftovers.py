"""What killed processes have left behind: whose it is, and how it goes."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from marline.node.home import Home, write_private
from marline.node.ports import Reservations
from marline.node.records import is_alive, mark, recorded, sweep
from marline.node.strays import VARIABLE, end_strays
from marline.node.workload import WorkloadStatus

DAEMON = """
import os, sys
if os.fork():
    sys.exit(0)
os.setsid()
if os.fork():
    os._exit(0)
print(os.getpid(), flush=True)
os.read(0, 1)
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path)
    made.create()
    return made


def record(home: Home, short_id: str) -> WorkloadStatus:
    """As a runner leaves it beside its sockets."""
    status = WorkloadStatus(
        short_id, "web-abcde", "default", "web", "", "sidecar", "node", "spiffe://x", "127.0.0.1", {}, "", ""
    )
    directory = home.workload(short_id)
    directory.path.mkdir(mode=0o700)
    write_private(directory.record, msgspec.json.encode(status))
    return status


@pytest.fixture
def living(home: Home) -> Iterator[WorkloadStatus]:
    """A workload whose runner lives."""
    short_id = f"{os.getpid() & 0xFFFFF:05x}a11fe"
    reservations = Reservations()
    assert reservations.claim(mark(short_id))
    yield record(home, short_id)
    reservations.release()


@contextmanager
def daemon(short_id: str) -> Iterator[int]:
    """A process that has left its parent, its group and its session, as a pidfd."""
    with subprocess.Popen(
        [sys.executable, "-c", DAEMON],
        env={**os.environ, VARIABLE: short_id}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert parent.wait() == 0
        descriptor = os.pidfd_open(pid)
        try:
            yield descriptor
        finally:
            os.close(descriptor)  # its input ends now, and it with that


def test_what_lives_is_listed_and_what_does_not_is_not(home: Home, living: WorkloadStatus) -> None:
    record(home, "00000dead0")
    assert recorded(home) == (living,)
    assert not is_alive("00000dead0")


@pytest.mark.parametrize("content", [b"", b"{", b'{"id": 3}'])
def test_a_damaged_record_is_no_workload(content: bytes, home: Home, living: WorkloadStatus) -> None:
    home.workload(living.id).record.write_bytes(content)
    assert recorded(home) == ()


def test_sweeping_leaves_what_lives(home: Home, living: WorkloadStatus) -> None:
    record(home, "00000dead1")
    for socket in (home.node_socket, home.notify_socket, home.xds_socket):
        socket.touch()
    sweep(home)
    assert sorted(path.relative_to(home.run).as_posix() for path in home.run.rglob("*")) == [
        "w",
        f"w/{living.id}",
        f"w/{living.id}/workload.json",
    ]


def test_sweeping_ends_daemons_of_killed_workloads(home: Home) -> None:
    short_id = f"{os.getpid() & 0xFFFFF:05x}dead2"
    record(home, short_id)
    with daemon(short_id) as descriptor:
        sweep(home)
        assert ended(descriptor)
    assert not list(home.workloads.iterdir())


def test_daemons_of_other_workloads_go_on() -> None:
    number = f"{os.getpid() & 0xFFFFF:05x}"
    with daemon(f"{number}0000a") as descriptor:
        assert end_strays([f"{number}0000b", f"{number}0000"]) == 0
        assert not ended(descriptor, 0.1)
        assert end_strays([f"{number}0000a"]) == 1
        assert ended(descriptor)


def ended(descriptor: int, seconds: float = 10) -> bool:
    """Has the process of a pidfd ended, or does it within this time?"""
    return bool(select.select([descriptor], [], [], seconds)[0])
