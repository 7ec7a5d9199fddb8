"""Policies in a whole mesh: who counts is started when wanted, and what becomes of a policy can be read."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_mesh import ECHO, MODES, Mesh, eventually, running_mesh

LIMIT = """
apiVersion: policy.marline.io/v1alpha1
kind: RateLimitPolicy
metadata: {name: %s}
spec:
  targetRefs: [{kind: Service, name: echo, sectionName: http}]
  limits: [{name: callers, requests: %d, unit: Day, scope: Global, by: [{type: Caller}]}]
"""


@pytest.fixture(scope="module", params=MODES)
def mesh(request: pytest.FixtureRequest) -> Iterator[Mesh]:
    with running_mesh(request.param, ECHO) as running:
        yield running


def accepted(mesh: Mesh, name: str) -> str:
    """The reason of the only condition, "" as long as there is none."""
    found = json.loads(mesh.marline("get", "ratelimitpolicy", name, "-o", "json"))
    ancestors = found.get("status", {}).get("ancestors", [])
    return str(ancestors[0]["conditions"][0]["reason"]) if ancestors else ""


def counts(mesh: Mesh) -> bool:
    log = mesh.home / "log" / "rate-limits.log"
    return log.exists() and "counting in memory" in log.read_text()


def test_instances_of_a_service_share_a_count_of_each_caller(mesh: Mesh) -> None:
    assert not (mesh.home / "log" / "rate-limits.log").exists(), "nobody counts while no policy wants it"
    mesh.apply(LIMIT % ("echo", 6))
    eventually(lambda: counts(mesh), "somebody counts", mesh.home)
    url = "http://echo:9080/" if mesh.capture == "transparent" else "{ECHO_URL}/"
    statuses = [item["status"] for item in mesh.caller("client").fetch(url, count=12)]
    assert (statuses.count(200), statuses.count(429)) == (6, 6)
    eventually(lambda: accepted(mesh, "echo") == "Accepted", "the policy is accepted", mesh.home)
    mesh.apply(LIMIT % ("later", 1000))
    eventually(lambda: accepted(mesh, "later") == "Conflicted", "the later policy is refused", mesh.home)
    mesh.delete("ratelimitpolicy", "echo")
    eventually(lambda: accepted(mesh, "later") == "Accepted", "the later policy counts", mesh.home)


def test_who_counts_ends_with_the_mesh() -> None:
    with running_mesh("explicit", ECHO) as mesh:
        mesh.apply(LIMIT % ("echo", 6))
        socket = mesh.home / "run" / "limits.sock"
        eventually(socket.exists, "somebody counts", mesh.home)
        found = [path for path in Path("/proc").glob("[0-9]*/cmdline") if _is_counting(path, socket)]
        assert len(found) == 1
        mesh.marline("down")
        assert not any(_is_counting(path, socket) for path in found)


def _is_counting(command: Path, socket: Path) -> bool:
    try:
        return str(socket).encode() in command.read_bytes()
    except OSError:
        return False
