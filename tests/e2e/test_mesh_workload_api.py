"""Applications of a mesh, and processes beside it, get their identities from the Workload API."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_process import leftovers, marline
from running_mesh import MODES, Mesh, eventually, running_mesh

APPLICATION = """
services:
  client:
    command: "{python} {apps}/caller.py {home}/client.sock"
identities:
  backup:
    namespace: ops
    selectors: ["unix:uid:%d", "unix:path:%s"]
  elsewhere:
    selectors: ["unix:path:/no/such/program"]
"""
PYTHON = str(Path(sys.executable).resolve())
JOB = "spiffe://cluster.local/ns/default/sa/job"
BACKUP = "spiffe://cluster.local/ns/ops/sa/backup"
ASK = """
import json
from spiffe import WorkloadApiClient
client = WorkloadApiClient(default_timeout=10)
made = client.fetch_jwt_svid({"payments"})
client.validate_jwt_svid(made.token, "payments")
print(json.dumps([str(item.spiffe_id) for item in client.fetch_x509_svids()] + [str(made.spiffe_id)]))
"""


@pytest.fixture(scope="module", params=MODES)
def mesh(request: pytest.FixtureRequest) -> Iterator[Mesh]:
    with running_mesh(request.param, APPLICATION % (os.geteuid(), PYTHON)) as mesh:
        yield mesh
        assert marline(mesh.home, "down").code == 0
        assert not leftovers(mesh.home)


def beside(mesh: Mesh, *program: str) -> str:
    """What a process says that Marline has not started."""
    environment = {**os.environ, "SPIFFE_ENDPOINT_SOCKET": f"unix://{mesh.home}/run/spiffe.sock"}
    done = subprocess.run(
        [*program, "-c", ASK], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout or done.stderr


def test_an_application_and_what_it_starts_have_its_identity(mesh: Mesh) -> None:
    child = ("sh", "-c", '"$0" -c "$1" & wait', sys.executable, ASK)
    for program in ((sys.executable, "-c", ASK), child):
        done = marline(mesh.home, "run", "--service", "job", "--", *program)
        assert (done.code, done.out and json.loads(done.out)) == (0, [JOB, JOB]), done.err


def test_a_process_beside_the_mesh_has_the_identity_that_it_is_registered_for(mesh: Mesh) -> None:
    assert json.loads(eventually(lambda: beside(mesh, sys.executable), "an answer")) == [BACKUP, BACKUP]


def test_identities_are_listed_and_end_with_their_application(mesh: Mesh) -> None:
    kinds = {item["name"]: item["kind"] for item in json.loads(mesh.node("list"))["workloads"]}
    assert kinds["backup"] == kinds["elsewhere"] == "identity"
    assert "backup" in marline(mesh.home, "status").out
    assert marline(mesh.home, "down", "backup").code == 0
    assert "PERMISSION_DENIED" in beside(mesh, sys.executable)
