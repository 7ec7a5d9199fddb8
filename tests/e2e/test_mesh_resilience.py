"""What may break, come and go under constant load without a failed request, in both capture modes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from running_mesh import APPS, ECHO, ECHO_SUBSETS, MARLINE, MODES, Caller, Mesh, eventually, running_mesh

from marline.store.remote.client import RemoteStore


@pytest.fixture(scope="module", params=MODES)
def mesh(request: pytest.FixtureRequest) -> Iterator[Mesh]:
    with running_mesh(request.param, ECHO) as mesh:
        mesh.apply(ECHO_SUBSETS)
        yield mesh


@contextmanager
def load(caller: Caller) -> Iterator[Counter[str]]:
    """Constant load within the block; afterwards which versions have answered. Any failure fails."""
    answered: Counter[str] = Counter()
    caller.begin("{ECHO_URL}/?delay=0.01", concurrency=4)
    try:
        yield answered
    finally:
        results = caller.end()
    failed = [result for result in results if result[0] != 200]
    assert not failed, f"{len(failed)} of {len(results)} requests failed, such as {failed[:3]}"
    answered.update(version for _, version in results)


def canary(weight: int) -> dict[str, object]:
    route = [
        {"destination": {"host": "echo", "subset": "v1"}, "weight": 100 - weight},
        {"destination": {"host": "echo", "subset": "v2"}, "weight": weight},
    ]
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "echo", "namespace": "default"},
        "spec": {"hosts": ["echo"], "http": [{"route": route}]},
    }


async def shift(kubeconfig: Path, times: int) -> None:
    async with RemoteStore.from_kubeconfig(kubeconfig) as store:
        for number in range(times):
            await store.apply(canary(number % 101), field_manager="test")


def test_a_hundred_changes_of_a_canarys_weight(mesh: Mesh) -> None:
    with load(mesh.caller("client")) as answered:
        asyncio.run(shift(mesh.home / "kubeconfig", 100))
    assert set(answered) == {"v1", "v2"}
    mesh.delete("virtualservice", "echo")


def only(version: str) -> str:
    """A rule before the subset that it needs, and no other subset: one without the other is a failure."""
    route = [{"destination": {"host": "echo", "subset": version}}]
    spec = {"hosts": ["echo"], "http": [{"route": route}]}
    subsets = [{"name": version, "labels": {"version": version}}]
    head = {"apiVersion": "networking.istio.io/v1", "metadata": {"name": "echo"}}
    return "\n---\n".join((
        json.dumps({**head, "kind": "VirtualService", "spec": spec}),
        json.dumps({**head, "kind": "DestinationRule", "spec": {"host": "echo", "subsets": subsets}}),
    ))  # fmt: skip


def test_a_rule_and_its_subsets_change_in_one_apply(mesh: Mesh) -> None:
    mesh.apply(only("v1"))
    with load(mesh.caller("client")) as answered:
        for number in range(12):
            mesh.marline("apply", "-f", "-", text=only(f"v{1 + number % 2}"))
    assert set(answered) == {"v1", "v2"}
    mesh.delete("virtualservice", "echo")
    mesh.apply(ECHO_SUBSETS)


def test_endpoints_come_and_go(mesh: Mesh) -> None:
    command = [sys.executable, str(APPS / "echo.py")]
    with load(mesh.caller("client")) as answered:
        for _ in range(6):
            run = subprocess.Popen(
                [MARLINE, "--home", str(mesh.home), "run", "--service", "echo", "--version", "v3",
                 "--port", "http:9080", "--env", "VERSION=v3", "--", *command],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            try:
                eventually(
                    lambda: any(item["version"] == "v3" and item["ready"] for item in mesh.workloads()),
                    "the new instance is ready",
                )
            finally:
                run.send_signal(signal.SIGINT)
                run.wait(30)
    assert set(answered) == {"v1", "v2", "v3"}


def test_the_control_plane_is_killed(mesh: Mesh) -> None:
    with load(mesh.caller("client")):
        for _ in range(3):
            before = mesh.control_plane_pid()
            os.kill(before, signal.SIGKILL)
            eventually(lambda before=before: mesh.control_plane_pid() not in (0, before), "it is back")
        mesh.apply(VIRTUAL_SERVICE)
    assert mesh.caller("client").versions("{ECHO_URL}/", count=10) == {"v2": 10}
    mesh.delete("virtualservice", "echo")


VIRTUAL_SERVICE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec: {hosts: [echo], http: [{route: [{destination: {host: echo, subset: v2}}]}]}
"""


RETRIES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec:
  hosts: [echo]
  http:
  - route: [{destination: {host: echo}}]
    retries: {attempts: 4, retryOn: "reset,connect-failure,refused-stream,503"}
"""


def test_an_envoy_is_killed(mesh: Mesh) -> None:
    """Its peers' retries cover its absence, and it comes back with the same configuration. Requests that it
    was answering are repeated only where a rule says so, since not all can be."""
    mesh.apply(RETRIES)
    before = mesh.workload("echo", "v1")
    mesh.caller("client").versions("{ECHO_URL}/", count=20)
    with load(mesh.caller("client")):
        os.kill(before["envoyPid"], signal.SIGKILL)
        eventually(
            lambda: mesh.workload("echo", "v1")["envoyPid"] not in (0, before["envoyPid"]), "it is back"
        )
    eventually(
        lambda: set(mesh.caller("client").versions("{ECHO_URL}/", count=20)) == {"v1", "v2"},
        "both versions answer",
    )


def test_an_application_is_killed(mesh: Mesh) -> None:
    """Nobody but its own callers of that moment can notice; it is started again."""
    before = mesh.workload("echo", "v2")
    os.kill(before["appPid"], signal.SIGKILL)
    eventually(lambda: mesh.workload("echo", "v2")["appPid"] not in (0, before["appPid"]), "it is back")
    eventually(lambda: mesh.workload("echo", "v2")["ready"], "it is ready", mesh.home)
    assert mesh.workload("echo", "v2")["appRestarts"] == 1
