"""Rules between workloads of a running mesh, in both capture modes."""

from collections.abc import Iterator

import pytest
from running_mesh import MODES, Caller, Mesh, running_mesh

APPLICATION = """
services:
  client:
    command: "{python} {apps}/caller.py {home}/client.sock"
    upstreams: [echo:9080, {host: echo, port: 9000, env: LINES}]
  echo:
    ports: [http:9080, tcp:9000]
    command: "{python} {apps}/echo.py"
    versions:
      v1: {environment: {VERSION: v1}}
      v2: {environment: {VERSION: v2}}
"""
SUBSETS = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec:
  host: echo
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
"""


@pytest.fixture(scope="module", params=MODES)
def mesh(request: pytest.FixtureRequest) -> Iterator[Mesh]:
    with running_mesh(request.param, APPLICATION) as mesh:
        mesh.apply(SUBSETS)
        yield mesh


@pytest.fixture
def client(mesh: Mesh) -> Iterator[Caller]:
    yield mesh.caller("client")
    for kind in ("virtualservices",):
        for name in mesh.marline("get", kind, "-o", "name").split():
            mesh.marline("delete", kind, name.rpartition("/")[2])


def rules(body: str) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: echo}}
spec:
  hosts: [echo]
{body}
"""


def test_without_rules_all_versions_answer(client: Caller) -> None:
    assert set(client.versions("{ECHO_URL}/", count=40)) == {"v1", "v2"}


def test_all_traffic_goes_to_one_subset(mesh: Mesh, client: Caller) -> None:
    mesh.apply(rules("  http: [{route: [{destination: {host: echo, subset: v2}}]}]"))
    assert client.versions("{ECHO_URL}/", count=20) == {"v2": 20}
