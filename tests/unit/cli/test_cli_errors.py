"""Errors as users read them, and the exit codes that scripts see."""

import click
import pytest

from marline.api.errors import FieldError, InvalidResource
from marline.api.resource import Ref
from marline.cli.exits import ExitCode
from marline.cli.failures import exit_code, explain, report
from marline.cli.options import Settings
from marline.node.errors import AdminError, AgentRefused, NotRunning
from marline.store.interface import Conflict, NotFound, Unavailable

REVIEWS = Ref("networking.istio.io", "VirtualService", "default", "reviews")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotRunning("/home"), ExitCode.NO_MESH),
        (NotFound(REVIEWS), ExitCode.NOT_FOUND),
        (Conflict(REVIEWS, "it was changed"), ExitCode.FAILED),
        (Unavailable("no answer"), ExitCode.FAILED),
        (AgentRefused("no"), ExitCode.FAILED),
        (AdminError("no answer"), ExitCode.FAILED),
        (InvalidResource("VirtualService reviews"), ExitCode.FAILED),
    ],
)
def test_each_error_has_an_exit_code(error: Exception, code: ExitCode) -> None:
    assert exit_code(error) is code


def test_a_conflict_says_who_owns_what_and_how_to_take_it_over() -> None:
    cause = {"field": ".spec.hosts", "message": 'conflict with "kubectl"'}
    said = explain(Conflict(REVIEWS, "1 conflict", (cause,)))
    assert '.spec.hosts: conflict with "kubectl"' in said
    assert "--force-conflicts" in said


def test_expected_errors_are_said_without_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    fault = FieldError("spec.htp", "unknown field", suggestion="http", file="a.yaml", line=7)
    report(InvalidResource("VirtualService reviews", (fault,)), Settings())
    said = capsys.readouterr().err
    assert said.startswith("marline: VirtualService reviews is not valid:")
    assert "a.yaml:7: spec.htp: unknown field (did you mean 'http'?)" in said
    assert "Traceback" not in said


def test_unexpected_errors_point_to_debug(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(KeyError("x"), Settings()) is ExitCode.FAILED
    said = capsys.readouterr().err
    assert "this should not happen: KeyError: 'x'" in said
    assert "--debug" in said
    assert "Traceback" not in said


def test_debug_shows_where_an_error_arose(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError("broken")
    except ValueError as error:
        report(error, Settings(debug=True))
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    from marline.cli import main

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(click.Group, "invoke", interrupted)
    assert main.run(["check"]) == ExitCode.INTERRUPTED
