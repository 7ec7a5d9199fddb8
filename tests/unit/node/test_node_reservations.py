"""Numbers and names that several processes must not choose at once."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from marline.node.ports import Exhausted, NameTaken, PortTaken, Reservations

LOOPBACK = "127.0.0.1"


@pytest.fixture
def one() -> Iterator[Reservations]:
    made = Reservations()
    yield made
    made.release()


@pytest.fixture
def other() -> Iterator[Reservations]:
    made = Reservations()
    yield made
    made.release()


def unique(name: str) -> str:
    """Reservations hold for the machine, on which other tests may run."""
    return f"test/{os.getpid()}/{name}"


def test_what_one_has_another_does_not_get_until_it_is_released(
    one: Reservations, other: Reservations
) -> None:
    name = unique("a")
    assert one.claim(name)
    assert not other.claim(name)
    assert not one.claim(name)
    one.release()
    assert other.claim(name)


def test_a_killed_owner_has_nothing_any_more(one: Reservations) -> None:
    name = unique("killed")
    code = (
        "import sys; from marline.node.ports import Reservations; kept = Reservations();"
        "print(kept.claim(sys.argv[1]), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "True\n"
        assert not one.claim(name)
        owner.kill()
    assert one.claim(name)


def test_a_name_that_no_socket_can_have_is_not_said_to_be_taken(one: Reservations) -> None:
    with pytest.raises(OSError, match="too long"):
        one.claim("x" * 200)


def test_free_ports_are_free_and_not_those_of_outgoing_connections(
    one: Reservations, other: Reservations
) -> None:
    ports = [owner.port() for owner in (one, other) for _ in range(20)]
    assert len(set(ports)) == 40
    for port in ports:
        with socket.create_server((LOOPBACK, port)):
            pass
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert lowest < 17000 or max(ports) < lowest


def test_a_given_port_is_refused_if_somebody_listens_there(one: Reservations) -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {port} of 127.0.0.1 is taken"):
            one.listen(LOOPBACK, port)


def test_a_given_port_is_refused_if_somebody_will_listen_there(
    one: Reservations, other: Reservations
) -> None:
    port = one.port()
    with pytest.raises(PortTaken):
        other.listen(LOOPBACK, port)
    other.listen("127.0.0.2", port)


def test_the_first_that_nobody_has_is_given(one: Reservations, other: Reservations) -> None:
    prefix = unique("first")
    assert one.first(prefix, ["a", "b"]) == "a"
    assert other.first(prefix, ["a", "b"]) == "b"
    with pytest.raises(Exhausted, match=r"everything of .* is taken"):
        one.first(prefix, ["a", "b"])


def test_a_workloads_name_is_there_once_in_a_namespace_of_a_mesh(
    one: Reservations, other: Reservations
) -> None:
    mesh = f"{os.getpid():06x}"
    name = "n" * 253
    one.workload(mesh, "default", name)
    with pytest.raises(NameTaken, match="runs already in namespace default; give this one another name"):
        other.workload(mesh, "default", name)
    other.workload(mesh, "elsewhere", name)
    other.workload(f"{mesh}x", "default", name)
