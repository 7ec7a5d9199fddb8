"""What starting `marline` costs, and how it ends."""

import os
import subprocess
import sys

import pytest

from marline.cli.exits import ExitCode
from marline.cli.main import COMMANDS, run

HEAVY = ("grpc", "google.protobuf", "aiohttp", "cryptography", "yaml", "msgspec")


@pytest.mark.parametrize("arguments", [["--help"], ["version"], ["version", "-o", "json"]])
def test_help_and_version_import_nothing_heavy(arguments: list[str], tmp_path: object) -> None:
    code = (
        "import sys\n"
        "from marline.cli.main import run\n"
        f"ended = run(['--home', {str(tmp_path)!r}, *{arguments!r}])\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(f'imported {loaded}' if loaded else ended)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout


def test_help_lists_every_command_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)
    assert all(f"{code.value:>5}  " in shown for code in ExitCode)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == ExitCode.OK
    assert f"Usage: marline {name}" in capsys.readouterr().out


def test_a_misspelt_command_is_a_usage_error_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["aply"]) == ExitCode.USAGE
    assert "Did you mean 'apply'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["get", "virtualservices"], ["proxy-status"], ["proxy-config", "cluster", "web"], ["down", "web"]],
)
def test_commands_that_need_a_mesh_say_that_none_runs(
    arguments: list[str], tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*arguments, "--home", str(tmp_path)]) == ExitCode.NO_MESH
    assert f"marline: no mesh is running in {tmp_path}" in capsys.readouterr().err


def test_stopping_a_mesh_that_does_not_run_is_well(tmp_path: object) -> None:
    assert run(["--home", str(tmp_path), "down"]) == ExitCode.OK


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_marline(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == ExitCode.OK
    assert "_MARLINE_COMPLETE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("marline proxy-", "proxy-status"),
        ("marline get virtuals", "virtualservices"),
        ("marline proxy-config end", "endpoint"),
        ("marline up --cap", "--capture"),
    ],
)
def test_shells_are_offered_commands_kinds_and_options(words: str, offered: str, tmp_path: object) -> None:
    asked = {"_MARLINE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    ended = subprocess.run(
        [sys.executable, "-m", "marline.cli.main"],
        env={**os.environ, "MARLINE_HOME": str(tmp_path), **asked},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert f"plain,{offered}" in ended.stdout.splitlines()
