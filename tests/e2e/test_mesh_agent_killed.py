"""`kill -9` of the node agent, in both capture modes; and commands that start and stop a mesh at once."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_process import SERVER, Ended, foreground, leftovers, marline
from demo_process import processes_of
from running_mesh import APPS, MARLINE, MODES, Mesh, eventually, free_port

from marline.node.home import Home, agent_pid, load_config

APPLICATION = f"""
services:
  client:
    command: "{sys.executable} {APPS}/caller.py {{home}}/client.sock"
    upstreams: [echo:9080, files:8000]
  echo:
    ports: [http:9080]
    command: [sh, -c, "sleep 1000 & exec {sys.executable} {APPS}/echo.py"]
"""


@pytest.fixture(params=MODES)
def mesh(request: pytest.FixtureRequest) -> Iterator[Mesh]:
    """A home in which nothing runs yet."""
    home = Path(tempfile.mkdtemp(prefix="mrl-", dir="/tmp"))
    (home / "application.yaml").write_text(APPLICATION.replace("{home}", str(home)))
    yield Mesh(home, request.param)
    marline(home, "down")
    left = leftovers(home)
    shutil.rmtree(home)
    assert left == []


def up(mesh: Mesh) -> Ended:
    file = str(mesh.home / "application.yaml")
    return marline(mesh.home, "up", "--capture", mesh.capture, "-f", file)


def kill_agent(mesh: Mesh) -> None:
    pid = agent_pid(Home(mesh.home))
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def programs(mesh: Mesh) -> list[str]:
    return [name for name in processes_of(mesh.home) if "sleep" not in name]


def strays(mesh: Mesh) -> list[str]:
    return [name for name in processes_of(mesh.home) if "sleep" in name]


def status(mesh: Mesh, url: str) -> int:
    """What the mesh's client gets."""
    return int(mesh.caller("client").fetch(url)[0]["status"])


def test_what_it_ran_ends_with_it_and_the_next_start_cleans_up(mesh: Mesh) -> None:
    assert up(mesh).code == 0
    assert len(strays(mesh)) == 1
    kill_agent(mesh)
    eventually(lambda: not programs(mesh), "all programs have ended")
    before = strays(mesh)
    again = up(mesh)
    assert again.code == 0, again.err
    eventually(lambda: status(mesh, "{ECHO_URL}/") == 200, "all is as before", mesh.home)
    assert set(strays(mesh)).isdisjoint(before), "what it had started in the background has ended, too"
    assert len(mesh.workloads()) == 2


def test_stopping_cleans_up_after_it(mesh: Mesh) -> None:
    assert up(mesh).code == 0
    kill_agent(mesh)
    assert marline(mesh.home, "down").code == 0
    assert leftovers(mesh.home) == []


def test_a_workload_of_another_process_goes_on_and_is_found_again(mesh: Mesh) -> None:
    assert up(mesh).code == 0
    command = ("run", "--service", "files", "--port", "http:8000", "--", *SERVER)
    with foreground(mesh.home, *command) as running:
        running.await_text("is ready")
        eventually(lambda: status(mesh, "{FILES_URL}/") == 200, "the program answers")
        kill_agent(mesh)
        eventually(lambda: not [name for name in programs(mesh) if "echo.py" in name], "the others end")
        again = up(mesh)
        assert again.code == 0, again.err
        eventually(lambda: status(mesh, "{FILES_URL}/") == 200, "the program answers again", mesh.home)
        assert running.process.poll() is None
        assert running.end(signal.SIGINT) == 130


def test_of_two_commands_that_start_a_mesh_one_does(mesh: Mesh) -> None:
    ports = [free_port(), free_port()]
    command = [MARLINE, "--home", str(mesh.home), "up", "--capture", mesh.capture, "--api-port"]
    starts = [subprocess.Popen([*command, str(port)], stderr=subprocess.PIPE, text=True) for port in ports]
    said = [start.communicate(timeout=100)[1] for start in starts]
    codes = [start.returncode for start in starts]
    assert sorted(codes) == [0, 1], said
    assert "a mesh is running in" in said[codes.index(1)]
    config = load_config(Home(mesh.home))
    assert config is not None
    assert config.api_port == ports[codes.index(0)], "what the mesh is said to be is what it is"
    assert marline(mesh.home, "get", "services").code == 0


def test_stopping_a_mesh_while_it_starts_stops_it(mesh: Mesh) -> None:
    command = [MARLINE, "--home", str(mesh.home), "up", "--capture", mesh.capture]
    start = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    eventually(lambda: agent_pid(Home(mesh.home)), "the agent is there")
    began = time.monotonic()
    assert marline(mesh.home, "down").code == 0
    _, said = start.communicate(timeout=100)
    assert start.returncode in (0, 1), said
    assert agent_pid(Home(mesh.home)) is None
    assert time.monotonic() - began < 60
    assert leftovers(mesh.home) == []
