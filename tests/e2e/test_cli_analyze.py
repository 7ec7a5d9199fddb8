"""`marline analyze` on files, on the running mesh, and on both together."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_process import Ended, marline
from running_mesh import ECHO, ECHO_SUBSETS, Mesh, running_mesh

WRONG = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec:
  hosts: [echo]
  http:
    - route:
        - destination: {host: echo, subset: v3, port: {number: 9080}}
    - match: [{uri: {prefix: /x}}]
      route:
        - destination: {host: echo, subset: v1, port: {number: 9080}}
"""
INVALID = WRONG.replace("hosts: [echo]", "host: [echo]")


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with running_mesh("explicit", ECHO) as mesh:
        mesh.apply(ECHO_SUBSETS)
        yield mesh


def codes(ended: Ended) -> list[tuple[str, int]]:
    return [(item["code"], item["line"]) for item in ended.json()]


def test_files_alone_are_looked_at_without_a_mesh(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(WRONG)
    ended = marline(tmp_path, "analyze", str(file), "-o", "json")
    assert ended.code == 1
    assert codes(ended) == [("IST0101", 9), ("IST0101", 12), ("IST0130", 10), ("MAR0102", 6)]
    assert all(item["file"] == str(file) and item["why"] and item["mend"] for item in ended.json())


def test_what_would_be_refused_is_a_finding(tmp_path: Path) -> None:
    ended = marline(tmp_path, "analyze", "-", "-o", "json", text=INVALID)
    assert ended.code == 1
    assert ended.json()[0] | {"why": "", "name": ""} == {
        "code": "IST0106", "name": "", "severity": "error", "resource": "VirtualService default/echo",
        "path": "spec.host", "message": "unknown field", "why": "", "mend": "Did you mean hosts?",
        "file": "standard input", "line": 6,
    }  # fmt: skip


def test_directories_and_thresholds(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(WRONG)
    (tmp_path / "b.txt").write_text("not a resource")
    quiet = ("--suppress", "IST0101", "--suppress", "IST0130")
    for threshold, code in (("error", 0), ("warning", 1), ("never", 0)):
        ended = marline(tmp_path, "analyze", str(tmp_path), *quiet, "--fail-on", threshold)
        assert ended.code == code
        assert "1 warning in 1 resources" in ended.err
        assert "[MAR0102]" in ended.out


def test_code_hosts_get_their_format(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(WRONG)
    report = marline(tmp_path, "analyze", str(tmp_path / "a.yaml"), "-o", "sarif").json()
    (run,) = report["runs"]
    assert report["version"] == "2.1.0"
    known = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert [item["ruleId"] for item in run["results"]] == ["IST0101", "IST0101", "IST0130", "MAR0102"]
    assert known == {"IST0101", "IST0130", "MAR0102"}
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["region"] == {"startLine": 9}


def test_files_are_seen_together_with_the_running_mesh(mesh: Mesh, tmp_path: Path) -> None:
    file = tmp_path / "rule.yaml"
    file.write_text(WRONG)
    ended = marline(mesh.home, "analyze", str(file), "-o", "json")
    # The service and subset v1 are in the mesh; what is missing is not.
    assert codes(ended) == [("IST0101", 9), ("IST0130", 10)]
    assert "'echo.default.svc.cluster.local' has no subset 'v3'" in ended.json()[0]["message"]


def test_what_a_file_breaks_elsewhere_is_shown(mesh: Mesh, tmp_path: Path) -> None:
    mesh.apply(WRONG.replace("v3", "v2"))
    file = tmp_path / "rule.yaml"
    file.write_text(ECHO_SUBSETS.replace("{name: v2, labels: {version: v2}}", ""))
    (found,) = marline(mesh.home, "analyze", str(file), "-o", "json").json()
    assert (found["resource"], found["file"]) == ("VirtualService default/echo", "")
    assert found["path"] == "spec.http[0].route[0].destination.subset"
    assert _line(mesh, found["line"]) == "subset: v2"
    mesh.delete("virtualservice", "echo")


def _line(mesh: Mesh, number: int) -> str:
    printed = mesh.marline("get", "virtualservice", "echo", "-o", "yaml")
    return printed.splitlines()[number - 1].strip()


def test_a_sound_mesh_has_no_findings(mesh: Mesh) -> None:
    ended = marline(mesh.home, "analyze", "--fail-on", "info")
    assert (ended.code, ended.out) == (0, "")
    assert "nothing found in" in ended.err


def test_without_a_mesh_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    assert marline(tmp_path, "analyze").code == 3
    assert marline(tmp_path, "analyze", "--offline").code == 2
    ended = marline(tmp_path, "analyze", "-", "-o", "json", text=ECHO_SUBSETS)
    assert (ended.code, codes(ended)) == (0, [("IST0174", 6)])
