"""`marline authn` on files: lines for those who are told the same, and the fields that decide."""

import json
from pathlib import Path

import pytest

from marline.cli.main import run

APPLICATION = """
services:
  web: {command: "true", ports: [http:80]}
  cart: {command: "true", ports: ["http:80:8080"]}
"""
RULES = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: cart}
spec:
  selector: {matchLabels: {app: cart}}
  portLevelMtls: {8080: {mode: PERMISSIVE}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web}
spec: {host: web, trafficPolicy: {tls: {mode: DISABLE}}}
"""


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    application, rules = tmp_path / "app.yaml", tmp_path / "rules.yaml"
    application.write_text(APPLICATION)
    rules.write_text(RULES)
    return ["-a", str(application), "-f", str(rules)]


def test_those_who_are_told_the_same_share_a_line(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["authn", *files]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["all", "cart.default.svc.cluster.local:80"],
        ["all", "web.default.svc.cluster.local:80"],
    ]
    cart, web = lines[1:]
    assert "mutual TLS" in cart and "(automatic)" in cart
    assert "spec.portLevelMtls.8080.mode" in cart and "rules.yaml:7" in cart
    assert "plain text" in web and "DestinationRule default/web spec.trafficPolicy.tls" in web
    assert "STRICT" in web and "(default)" in web and "no: mTLS is demanded" in web


def test_one_pair_can_be_asked_for(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["authn", "web", "cart", *files, "-o", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["client"], found["server"]) == ("default/web", "default/cart")
    assert (found["sent"], found["mode"], found["accepted"]) == ("mtls", "PERMISSIVE", True)


def test_who_is_not_there_is_named(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["authn", "web", "basket", *files]) == 4
    assert "no service 'basket'" in capsys.readouterr().err
