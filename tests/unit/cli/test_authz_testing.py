"""`marline authz check` and `test` on files: what policies decide, and whether that is as expected."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from marline.cli.main import run

MESH = """
apiVersion: v1
kind: Service
metadata: {name: prices}
spec: {selector: {app: prices}, ports: [{name: http, port: 80}, {name: tcp, port: 81}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - {name: asked, envoyExtAuthzGrpc: {service: prices.default.svc.cluster.local, port: 81}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers}
spec:
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/shop]}}]
    to: [{operation: {methods: [GET]}}]
    when: [{key: "request.headers[x-user]", values: [ann]}]
  - when: [{key: "request.auth.claims[role]", values: [admin]}]
  - to: [{operation: {ports: ["81"]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: secrets}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/secret]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: asked}
spec: {action: CUSTOM, provider: {name: asked}, rules: [{to: [{operation: {paths: ["/paid*"]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: tried, annotations: {istio.io/dry-run: "true"}}
spec: {action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}
"""
ANN = ("-H", "x-user: ann")


@pytest.fixture
def mesh(tmp_path: Path) -> str:
    file = tmp_path / "mesh.yaml"
    file.write_text(MESH)
    return str(file)


def checked(capsys: pytest.CaptureFixture[str], mesh: str, *arguments: str, code: int) -> Any:
    assert run(["authz", "check", *arguments, "-f", mesh, "-o", "json"]) == code
    [answer] = json.loads(capsys.readouterr().out)
    return answer


@pytest.mark.parametrize(
    ("arguments", "code", "verdict", "rule"),
    [
        (("default/shop", "prices", "GET", "/", *ANN), 0, "allow", "readers spec.rules[0]"),
        (("default/shop", "prices", "POST", "/", *ANN), 1, "deny", ""),
        (("spiffe://cluster.local/ns/default/sa/other", "prices", "/"), 1, "deny", ""),
        (("default/other", "prices", "--claims", '{"role": "admin"}'), 0, "allow", "readers spec.rules[1]"),
        (("default/shop", "prices", "GET", "/x/../secret", *ANN), 1, "deny", "secrets spec.rules[0]"),
        (("default/shop", "prices", "GET", "/paid/1", *ANN), 0, "ask", "readers spec.rules[0]"),
        (("anyone", "prices", "GET", "/", *ANN), 1, "deny", ""),
        # Of connections that are not HTTP nobody knows the path: what denies one denies all.
        (("default/other", "prices", "--port", "81"), 1, "deny", "secrets spec.rules[0]"),
    ],
)
def test_the_rule_that_decides_is_named(
    arguments: tuple[str, ...],
    code: int,
    verdict: str,
    rule: str,
    mesh: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = checked(capsys, mesh, *arguments, code=code)
    place = answer.get("place")
    found = f"{place['name']} {place['field']}" if place else ""
    assert (answer["verdict"], found) == (verdict, rule)
    assert place is None or (place["line"] > 1 and place["file"] == mesh)


def test_what_policies_that_are_tried_would_do_is_told(mesh: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = checked(capsys, mesh, "default/shop", "prices", *ANN, code=0)
    assert [(item["verdict"], item["place"]["name"]) for item in answer["tried"]] == [("deny", "tried")]


def test_cases_are_told_apart_by_what_is_expected(
    mesh: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = tmp_path / "cases.yaml"
    cases.write_text(
        "cases:\n"
        "- {from: default/shop, to: prices, headers: {X-User: ann}, expect: allow}\n"
        "- {name: wrong, from: default/shop, to: 'prices:80', method: POST, expect: allow}\n"
        "- {from: default/shop, to: prizes, expect: deny}\n"
        "- {from: default/shop, to: prices, path: /paid, headers: {x-user: ann}, expect: ask}\n"
    )
    assert run(["authz", "test", str(cases), "-f", mesh]) == 1
    said = capsys.readouterr().out
    assert f"{cases}:3: expected allow, found deny; policies say what is allowed" in said
    assert "did you mean prices" in said
    assert said.endswith("2 of 4 cases are as expected\n")
    assert run(["authz", "test", str(cases), "-f", mesh, "-o", "junit"]) == 1
    suite = ElementTree.fromstring(capsys.readouterr().out.partition("\n")[2])  # noqa: S314 (our own)
    assert (suite.get("tests"), suite.get("failures")) == ("4", "2")
    assert run(["authz", "test", str(cases), "-f", mesh, "-o", "json"]) == 1
    assert [item["passed"] for item in json.loads(capsys.readouterr().out)] == [True, False, False, True]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cases: [{from: a/b, to: c, expects: allow}]", "unknown field (did you mean 'expect'?)"),
        ("cases: [{from: a/b, to: c, expect: maybe}]", "'maybe' is not one of allow, deny, ask"),
        ("cases: [{from: a/b, to: c, expect: deny, path: x}]", "does not begin with /"),
        ("cases: [{from: a/b, to: c, expect: deny, sourceIp: x}]", "is no IP address"),
        ("cases: []", "there are no cases"),
        ("a: [", "is not YAML"),
    ],
)
def test_files_that_are_no_cases_are_refused_with_the_place(
    text: str, said: str, mesh: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = tmp_path / "cases.yaml"
    cases.write_text(text)
    assert run(["authz", "test", str(cases), "-f", mesh]) == 1
    assert said in capsys.readouterr().err
