"""`marline explain` on files alone: what it prints, and with what it ends."""

import json
from pathlib import Path
from typing import Any

import pytest

from marline.cli.main import run

APPLICATION = """
services:
  client: {command: "true"}
  echo:
    command: "true"
    ports: [http:9080]
    versions: {v1: {}, v2: {replicas: 2}}
gateways:
  ingressgateway: {ports: [{port: 80, listen: 8080}]}
"""
RULES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec:
  hosts: [echo]
  http:
  - match: [{headers: {user: {exact: jason}}}]
    fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
    route: [{destination: {host: echo}}]
  - route: [{destination: {host: echo}}]
"""


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    application, rules = tmp_path / "app.yaml", tmp_path / "rules.yaml"
    application.write_text(APPLICATION)
    rules.write_text(RULES)
    return ["-a", str(application), "-f", str(rules)]


def explained(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert run(["explain", *arguments, "-o", "json"]) == code
    return json.loads(capsys.readouterr().out)


def test_workloads_of_application_files_answer(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = explained(capsys, "client", "echo:9080", *files)
    (ending,) = found["endings"]
    assert ending["workloads"] == ["default/echo-v1", "default/echo-v2-1", "default/echo-v2-2"]
    assert found["fate"] == "answered"


def test_a_request_that_is_refused_ends_with_1(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = explained(capsys, "client", "echo:9080", "GET", "/", "-H", "user: jason", *files, code=1)
    assert found["endings"][0]["status"] == 418
    (place,) = [item["place"] for item in found["steps"] if item["topic"] == "fault"]
    assert (place["field"], place["line"]) == ("spec.http[0].fault", 9)
    assert place["file"].endswith("rules.yaml")


def test_what_cannot_be_evaluated_ends_with_5(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    rules = Path(files[-1])
    rules.write_text(RULES.replace("{exact: jason}", "{regex: '(?U)x+'}"))
    found = explained(capsys, "client", "echo:9080", "-H", "user:x", *files, code=5)
    assert "cannot be evaluated" in found["endings"][0]["text"]


def test_a_workload_may_be_imagined(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = explained(capsys, "web", "echo.default:9080", "-l", "app=web", "-n", "shop", *files)
    assert found["source"] == "shop/web"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["client", "ftp://echo"], "http, https or tcp"),
        (["client", "http://echo/a", "GET", "/b"], "said twice"),
        (["client", "echo", "-H", "nothing"], "NAME:VALUE"),
        (["client", "echo", "-l", "app"], "NAME=VALUE"),
        (["client", "echo:99999"], "port"),
    ],
)
def test_what_is_wrong_with_a_question_is_said(
    files: list[str], arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", *arguments, *files]) == 2
    assert said.lower() in capsys.readouterr().err.lower()


def test_an_unknown_workload_is_not_there(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "nobody", "echo", *files]) == 4
    assert "echo-v2-1.default" in capsys.readouterr().err
