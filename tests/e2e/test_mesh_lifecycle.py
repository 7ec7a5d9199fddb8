"""The life of one workload, in both capture modes: how it starts and ends, when it gets traffic."""

import os
import select
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from cli_process import marline
from running_mesh import MODES, Caller, Mesh, eventually, running_mesh

APPLICATION = """
services:
  client:
    command: "{python} {apps}/caller.py {home}/client.sock"
    upstreams: [echo:9080, http:9080, exec:9080]
  echo:
    ports: [http:9080]
    command: "{python} {apps}/echo.py"
    versions:
      v1: {environment: {VERSION: v1}}
      v2: {environment: {VERSION: v2}}
  http:
    ports: [http:9080]
    command: "{python} {apps}/moody.py"
    probes: {readiness: {http: {path: /ready}, period: 200ms, failureThreshold: 1}}
    versions: &moods
      v1: {environment: {VERSION: v1, BUSY: "{home}/busy"}}
      v2: {environment: {VERSION: v2, BUSY: "{home}/never"}}
  exec:
    ports: [http:9080]
    command: "{python} {apps}/echo.py"
    probes: {readiness: {exec: {command: [sh, -c, '! test -e "$BUSY"']}, period: 200ms, failureThreshold: 1}}
    versions: *moods
"""


@pytest.fixture(scope="module", params=MODES)
def mesh(request: pytest.FixtureRequest) -> Iterator[Mesh]:
    with running_mesh(request.param, APPLICATION) as mesh:
        yield mesh


@contextmanager
def load(caller: Caller, url: str) -> Iterator[Counter[str]]:
    """Constant load within the block; afterwards which versions have answered. Any failure fails."""
    answered: Counter[str] = Counter()
    caller.begin(url, concurrency=6)
    try:
        yield answered
    finally:
        results = caller.end()
    failed = [result for result in results if result[0] != 200]
    assert not failed, f"{len(failed)} of {len(results)} requests failed, such as {failed[:3]}"
    answered.update(version for _, version in results)


NO_RETRIES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec: {hosts: [echo], http: [{route: [{destination: {host: echo}}], retries: {attempts: 0}}]}
"""


def up_again(mesh: Mesh) -> None:
    """Bring up the same file: what was stopped is started, all else goes on."""
    mesh.marline("up", "-f", str(mesh.home / "application.yaml"))


FIRST_CALL = (
    'exec 3<>"/dev/tcp/$ECHO_HOST/$ECHO_PORT" &&'
    r'printf "GET /first HTTP/1.1\r\nhost: $ECHO_HOST:$ECHO_PORT\r\nconnection: close\r\n\r\n" >&3 &&'
    "head -n 1 <&3"
)
"""In a shell, which is there sooner than an Envoy could be."""


def test_an_application_can_call_others_from_its_first_moment_on(mesh: Mesh) -> None:
    for _ in range(5):
        command = ("run", "--service", "eager", "--upstream", "echo:9080", "--", "bash", "-c", FIRST_CALL)
        ended = marline(mesh.home, *command)
        assert (ended.code, ended.out.strip()) == (0, "HTTP/1.1 200 OK"), ended.err
    assert of(mesh, "eager") == []


def of(mesh: Mesh, service: str) -> list[dict[str, object]]:
    return [item for item in mesh.workloads() if item["service"] == service]


def test_slow_requests_finish_while_a_workload_is_stopped(mesh: Mesh) -> None:
    """By themselves, not by being tried again elsewhere."""
    mesh.apply(NO_RETRIES)
    with load(mesh.caller("client"), "{ECHO_URL}/?delay=0.7") as answered:
        eventually(lambda: active(mesh, "echo", "v1") >= 2, "requests are under way")
        mesh.marline("down", str(mesh.workload("echo", "v1")["name"]))
        assert [item["version"] for item in of(mesh, "echo")] == ["v2"]
    assert set(answered) == {"v1", "v2"}
    mesh.delete("virtualservice", "echo")
    up_again(mesh)
    client = mesh.caller("client")
    eventually(lambda: set(client.versions("{ECHO_URL}/", count=20)) == {"v1", "v2"}, "both answer again")


def active(mesh: Mesh, service: str, version: str) -> int:
    """Requests that a workload is answering now."""
    text = mesh.admin(service, "/stats?filter=^http.inbound.*downstream_rq_active$", version)
    return sum(int(line.rpartition(":")[2]) for line in text.splitlines())


@pytest.mark.parametrize("probe", ["http", "exec"])
def test_a_workload_gets_traffic_while_its_probe_succeeds(probe: str, mesh: Mesh) -> None:
    client, url, busy = mesh.caller("client"), f"{{{probe.upper()}_URL}}/", mesh.home / "busy"
    eventually(lambda: set(client.versions(url, count=20)) == {"v1", "v2"}, "both get traffic")
    with load(client, url):
        busy.touch()
        eventually(lambda: not mesh.workload(probe, "v1")["ready"], "it is not ready any more")
        eventually(lambda: set(client.versions(url, count=20)) == {"v2"}, "it gets no traffic")
        assert "503" in mesh.workload(probe, "v1")["message"] or probe == "exec"
        busy.unlink()
        eventually(lambda: mesh.workload(probe, "v1")["ready"], "it is ready again")
        eventually(lambda: set(client.versions(url, count=20)) == {"v1", "v2"}, "it gets traffic again")


def test_an_application_that_crashes_is_started_again_ever_later(mesh: Mesh) -> None:
    starts = mesh.home / "starts"
    command = f"sh -c 'date +%s.%N >> {starts}; exit 3'"
    file = mesh.home / "crashing.yaml"
    file.write_text(f'services: {{crashing: {{ports: [http:9080], command: "{command}"}}}}')
    mesh.marline("up", "--no-wait", "-f", str(file))
    times = eventually(lambda: enough(starts, 5), "it was started five times", mesh.home)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[3] > gaps[0] * 2
    said = mesh.workload("crashing")
    assert said["appRestarts"] >= 3
    assert (said["ready"], said["message"]) == (False, "the application ended with 3")
    mesh.marline("down", "crashing")
    assert of(mesh, "crashing") == []


def enough(path: Path, count: int) -> list[float]:
    """The numbers in a file, once there are so many."""
    lines = path.read_text().split() if path.exists() else []
    return [float(line) for line in lines] if len(lines) >= count else []


def test_a_workload_that_is_stopped_takes_its_daemons_along(mesh: Mesh) -> None:
    pid_file = mesh.home / "daemon.pid"
    code = (
        "import os, time, sys; os.fork() and time.sleep(99); os.setsid();"
        f"open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(99)"
    )
    file = mesh.home / "daemons.yaml"
    file.write_text(f'services: {{daemons: {{command: [{sys.executable}, -c, "{code}"]}}}}')
    mesh.marline("up", "-f", str(file))
    pid = int(eventually(lambda: pid_file.exists() and pid_file.read_text(), "the daemon runs"))
    descriptor = os.pidfd_open(pid)
    try:
        mesh.marline("down", "daemons")
        assert select.select([descriptor], [], [], 0)[0], "it has ended"
    finally:
        os.close(descriptor)
