"""An application file that is changed and brought up again, in both capture modes: what is replaced."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cli_process import Ended, marline
from running_mesh import MODES, Mesh, eventually, free_port, running_mesh

APPLICATION = """
services:
  client:
    command: "{python} {apps}/caller.py {home}/client.sock"
    upstreams: [echo:9080]
  echo:
    ports: [http:9080]
    command: "{python} {apps}/echo.py"
    replicas: 2
    environment: {VERSION: one}
"""


@pytest.fixture(scope="module", params=MODES)
def mesh(request: pytest.FixtureRequest) -> Iterator[Mesh]:
    with running_mesh(request.param, APPLICATION) as mesh:
        yield mesh


def up(mesh: Mesh, *changes: tuple[str, str], more: str = "", timeout: str = "60s") -> Ended:
    """Bring up the application with other text in some places."""
    text = (mesh.home / "application.yaml").read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    file = mesh.home / "changed.yaml"
    file.write_text(f"name: application\n{text}{more}")
    return marline(mesh.home, "up", "-f", str(file), "--timeout", timeout)


def instances(mesh: Mesh, service: str = "echo") -> set[str]:
    return {item["name"] for item in mesh.workloads() if item["service"] == service}


def answering(mesh: Mesh) -> set[str]:
    return set(mesh.caller("client").versions("{ECHO_URL}/", count=20))


@contextmanager
def load(mesh: Mesh) -> Iterator[None]:
    """Constant load within the block, of which no request may fail."""
    mesh.caller("client").begin("{ECHO_URL}/?delay=0.2", concurrency=6)
    try:
        yield
    finally:
        results = mesh.caller("client").end()
    failed = [result for result in results if result[0] != 200]
    assert not failed, f"{len(failed)} of {len(results)} requests failed, such as {failed[:3]}"


def test_what_differs_is_replaced_under_load_and_the_rest_goes_on(mesh: Mesh) -> None:
    before, client = instances(mesh), mesh.workload("client")
    with load(mesh):
        assert up(mesh, ("VERSION: one", "VERSION: two")).code == 0
        eventually(lambda: len(instances(mesh)) == 2, "the old ones have ended", mesh.home)
        assert instances(mesh).isdisjoint(before)
    assert answering(mesh) == {"two"}
    assert mesh.workload("client") == client
    with load(mesh):
        assert up(mesh).code == 0
        eventually(lambda: len(instances(mesh)) == 2, "the old ones have ended", mesh.home)
    assert answering(mesh) == {"one"}


def test_what_is_the_same_is_left_alone(mesh: Mesh) -> None:
    before = mesh.workloads()
    assert up(mesh).code == 0
    assert mesh.workloads() == before


def test_instances_are_added_and_taken_away_under_load(mesh: Mesh) -> None:
    before = instances(mesh)
    with load(mesh):
        assert up(mesh, ("replicas: 2", "replicas: 4")).code == 0
        assert instances(mesh) > before, "those that were there go on"
        assert up(mesh, ("replicas: 2", "replicas: 1")).code == 0
        eventually(lambda: len(instances(mesh)) == 1, "three have ended", mesh.home)
        assert up(mesh).code == 0
    assert len(instances(mesh)) == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("{VERSION: three, PORT_HTTP: none}", "/log/echo-"),
        ("{VERSION: three}\n    user: no-such-user", "there is no user 'no-such-user'"),
    ],
    ids=["never-ready", "failed"],
)
def test_what_cannot_take_the_place_of_something_does_not(change: str, reason: str, mesh: Mesh) -> None:
    """And the file as it was before ends the attempt, without touching what it would have replaced."""
    before = instances(mesh)
    with load(mesh):
        failed = up(mesh, ("{VERSION: one}", change), timeout="5s")
        assert failed.code == 1
        assert "not all workloads are ready" in failed.err
        assert reason in failed.err
        assert before <= instances(mesh)
        assert answering(mesh) == {"one"}
        assert up(mesh).code == 0
        eventually(lambda: len(instances(mesh)) == 2, "only two are left", mesh.home)
    assert answering(mesh) == {"one"}


def test_a_gateway_on_a_taken_port_is_named_while_the_rest_runs(mesh: Mesh) -> None:
    port = free_port()
    gateway = f"gateways: {{door: {{ports: [{{port: 80, listen: {port}}}]}}}}\n"
    with socket.create_server(("127.0.0.1", port)):
        failed = up(mesh, more=gateway)
        assert failed.code == 1
        assert f"port {port} of 127.0.0.1 is taken" in failed.err
        assert answering(mesh) == {"one"}
        assert states(mesh)["door"] == "failed"
    again = up(mesh, more=gateway)
    assert again.code == 0, again.err
    assert states(mesh)["door"] == "running"
    assert up(mesh).code == 0
    assert "door" not in states(mesh)


def states(mesh: Mesh) -> dict[str, str]:
    found: list[dict[str, Any]] = json.loads(mesh.node("list"))["workloads"]
    return {item["service"]: item["state"] for item in found}


def test_a_name_that_runs_already_is_refused(mesh: Mesh) -> None:
    name = next(iter(instances(mesh)))
    refused = marline(mesh.home, "run", "--service", "echo", "--name", name, "--", "true")
    assert refused.code == 1
    assert re.search(rf"{name} runs already in namespace default; give this one another name", refused.err)
    assert answering(mesh) == {"one"}
