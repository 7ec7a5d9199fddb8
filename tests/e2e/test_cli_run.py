"""`marline run`: any program as a workload, for as long as it runs."""

import signal
import sys
from collections.abc import Iterator

import pytest
from cli_process import SERVER, foreground, leftovers, marline
from demo_process import processes_of
from running_mesh import MODES, Mesh, eventually, running_mesh

APPLICATION = """
services:
  client:
    command: "{python} {apps}/caller.py {home}/client.sock"
    upstreams: [files:8000]
"""
SERVE = ("run", "--service", "files", "--port", "http:8000")
DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('deaf', flush=True); time.sleep(99)"
)


@pytest.fixture(scope="module", params=MODES)
def mesh(request: pytest.FixtureRequest) -> Iterator[Mesh]:
    with running_mesh(request.param, APPLICATION) as mesh:
        yield mesh
        assert marline(mesh.home, "down").code == 0
        assert not leftovers(mesh.home)


def status(mesh: Mesh) -> int:
    """What the mesh's client gets of the service."""
    return int(mesh.caller("client").fetch("{FILES_URL}/")[0]["status"])


def test_a_program_is_reached_while_it_runs_and_leaves_nothing(mesh: Mesh) -> None:
    with foreground(mesh.home, *SERVE, "--name", "files-1", "--", *SERVER) as running:
        said = running.await_text("is ready")
        assert "files.default.svc.cluster.local:8000" in said
        assert "spiffe://cluster.local/ns/default/sa/files" in said
        eventually(lambda: status(mesh) == 200, "the program answers")
        assert running.end(signal.SIGINT) == 130
    assert [item["service"] for item in mesh.workloads()] == ["client"]
    assert marline(mesh.home, "get", "we", "files-1").code == 4
    assert not [name for name in processes_of(mesh.home) if "files-1" in name]
    assert status(mesh) != 200


@pytest.mark.parametrize(("program", "code"), [("exit 7", 7), ("kill -9 $$", 137)])
def test_its_exit_code_is_the_programs(mesh: Mesh, program: str, code: int) -> None:
    assert marline(mesh.home, "run", "--service", "job", "--", "sh", "-c", program).code == code


def test_a_program_that_is_not_there_ends_as_in_a_shell(mesh: Mesh) -> None:
    ended = marline(mesh.home, "run", "--service", "job", "--", "/no/such/program")
    assert ended.code == 127
    assert "/no/such/program" in ended.err


def test_it_has_the_programs_input_and_output(mesh: Mesh) -> None:
    code = "import sys; print(sys.stdin.read().upper())"
    ended = marline(mesh.home, "run", "--service", "job", "--", sys.executable, "-c", code, text="hello")
    assert (ended.code, ended.out) == (0, "HELLO\n")


def test_down_stops_it_by_its_services_name(mesh: Mesh) -> None:
    with foreground(mesh.home, *SERVE, "--", *SERVER) as running:
        running.await_text("is ready")
        stopped = marline(mesh.home, "down", "files")
        assert (stopped.code, stopped.out[:6]) == (0, "files-")
        assert running.process.wait(timeout=10) is not None


def test_a_second_signal_ends_it_at_once(mesh: Mesh) -> None:
    with foreground(mesh.home, "run", "--service", "job", "--", sys.executable, "-c", DEAF) as running:
        running.await_text("deaf")
        running.process.send_signal(signal.SIGINT)
        running.await_text("ending job")
        assert running.end(signal.SIGINT) == 130
    assert not [name for name in processes_of(mesh.home) if "job" in name]
    assert [item["service"] for item in mesh.workloads()] == ["client"]
