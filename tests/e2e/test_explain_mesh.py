"""What `marline explain` foretells in a running mesh, and what a request then meets."""

from collections.abc import Iterator
from typing import Any

import pytest
from cli_process import Ended, marline
from running_mesh import ECHO, ECHO_SUBSETS, MODES, Mesh, running_mesh

RULES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec:
  hosts: [echo]
  http:
  - match: [{headers: {end-user: {exact: jason}}}]
    rewrite: {uri: /jason/}
    route: [{destination: {host: echo, subset: v2}}]
  - match: [{uri: {prefix: /gone}}]
    directResponse: {status: 410}
  - route: [{destination: {host: echo, subset: v1}}]
"""

PLAIN = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: plain}
spec: {host: echo, trafficPolicy: {tls: {mode: DISABLE}}}
"""


@pytest.fixture(scope="module", params=MODES)
def mesh(request: pytest.FixtureRequest) -> Iterator[Mesh]:
    with running_mesh(request.param, ECHO) as mesh:
        mesh.apply(ECHO_SUBSETS)
        mesh.apply(RULES)
        yield mesh


def explained(mesh: Mesh, *arguments: str, code: int = 0) -> Any:
    found: Ended = marline(mesh.home, "explain", "client", "echo:9080", *arguments, "-o", "json")
    assert found.code == code, found.err
    return found.json()


def decided_by(found: Any, topic: str) -> tuple[str, int]:
    """The field and the line that decide a step."""
    place = next(item["place"] for item in found["steps"] if item["topic"] == topic)
    return place["field"], place["line"]


def test_what_is_foretold_is_what_answers(mesh: Mesh) -> None:
    found = explained(mesh, "GET", "/x", "-H", "end-user: jason")
    (ending,) = found["endings"]
    (answer,) = mesh.caller("client").fetch("{ECHO_URL}/x", headers={"end-user": "jason"})
    assert [name.partition("/")[2] for name in ending["workloads"]] == [mesh.workload("echo", "v2")["name"]]
    assert answer["said"]["version"] == "v2"
    assert answer["said"]["path"] == ending["path"] == "/jason/x"
    assert explained(mesh, "GET", "/x")["endings"][0]["workloads"][0].startswith("default/echo-v1")
    assert mesh.caller("client").versions("{ECHO_URL}/x", count=5) == {"v1": 5}


def test_each_step_names_the_line_that_is_printed(mesh: Mesh) -> None:
    field, line = decided_by(explained(mesh, "GET", "/x", "-H", "end-user: jason"), "rewrite")
    printed = mesh.marline("get", "virtualservice", "echo", "-o", "yaml").splitlines()
    assert field == "spec.http[0].rewrite"
    assert "rewrite:" in printed[line - 1] or "uri: /jason/" in printed[line - 1]


def test_a_refusal_is_told_by_the_exit_code(mesh: Mesh) -> None:
    found = explained(mesh, "GET", "/gone", code=0)
    assert found["endings"][0]["status"] == 410
    (answer,) = mesh.caller("client").fetch("{ECHO_URL}/gone")
    assert answer["status"] == 410
    mesh.apply(PLAIN)
    try:
        refused = explained(mesh, "GET", "/x", code=1)
        assert "mTLS is demanded" in refused["endings"][0]["text"]
        (answer,) = mesh.caller("client").fetch("{ECHO_URL}/x")
        assert answer["status"] == refused["endings"][0]["status"] == 503
    finally:
        mesh.delete("destinationrule", "plain")


def test_what_is_named_wrongly_is_said(mesh: Mesh) -> None:
    assert marline(mesh.home, "explain", "nobody", "echo:9080").code == 4
    wrong = marline(mesh.home, "explain", "client", "ftp://echo")
    assert (wrong.code, "http, https or tcp" in wrong.err) == (2, True)
    unknown = marline(mesh.home, "explain", "client", "eco.default.svc.cluster.local:9080")
    assert "did you mean echo.default.svc.cluster.local" in unknown.out
