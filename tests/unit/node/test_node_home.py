"""$MARLINE_HOME: who may have one, what it must be like, and who holds it."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from marline.node.errors import AlreadyRunning, HomeUnusable
from marline.node.home import (
    MAX_SOCKET_PATH,
    Home,
    MeshConfig,
    agent_pid,
    find_home,
    hold,
    load_config,
    new_mesh_id,
    save_config,
    write_private,
)

HOLDER = """
import sys, pathlib
from marline.node.home import Home, hold
with hold(Home(pathlib.Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_by_another(home: Home) -> Iterator[subprocess.Popen[str]]:
    """The lock is a process's, so that only another one can be in the way."""
    command = [sys.executable, "-c", HOLDER, str(home.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("given", "environment", "path"),
    [
        ("/given", {"MARLINE_HOME": "/other"}, "/given"),
        (None, {"MARLINE_HOME": "/other"}, "/other"),
        (None, {}, str(Path.home() / ".marline")),
        ("~/mesh", {}, str(Path.home() / "mesh")),
        ("mesh", {}, str(Path.cwd() / "mesh")),
    ],
)
def test_a_home_is_given_or_in_the_environment_or_the_users(
    given: str | None, environment: dict[str, str], path: str
) -> None:
    assert find_home(given, environment).path == Path(path)


def test_a_home_of_nobody_is_refused() -> None:
    with pytest.raises(HomeUnusable, match="give a whole path"):
        find_home("~no-such-user/mesh")


def test_all_directories_are_their_owners_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "n" / "h")
    home.create()
    home.create()
    assert {mode(path) for path in (home.path, home.data, home.run, home.workloads, home.log)} == {0o700}


def test_files_are_their_owners_alone_and_whole_or_not_there(tmp_path: Path) -> None:
    write_private(tmp_path / "file", b"one")
    write_private(tmp_path / "file", b"two")
    assert mode(tmp_path / "file") == 0o600
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"two")]
    with pytest.raises(IsADirectoryError):
        (tmp_path / "directory").mkdir()
        write_private(tmp_path / "directory", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["directory", "file"]


def test_a_path_too_long_for_sockets_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    long = Home(tmp_path / ("x" * MAX_SOCKET_PATH))
    with pytest.raises(HomeUnusable, match="at most 79 bytes"):
        long.create()
    assert not long.path.exists()
    Home(Path("/" + "x" * 78)).check_length()
    with pytest.raises(HomeUnusable):
        Home(Path("/" + "x" * 79)).check_length()


def test_a_home_that_everybody_can_write_to_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "open"
    path.mkdir()
    path.chmod(0o1777)
    with pytest.raises(HomeUnusable, match=f"{path}: can be written by everybody.*chmod o-w"):
        Home(path).create()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_home_of_somebody_else_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(HomeUnusable, match="belongs to user 65534, but this is user 0"):
        Home(tmp_path).create()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(HomeUnusable, match="cannot be written"):
        Home(tmp_path / "home").create()


def test_a_file_in_the_place_of_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(HomeUnusable, match=f"{tmp_path}/run: cannot be written"):
        Home(tmp_path).create()


def test_what_is_fixed_about_a_mesh_is_kept(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert load_config(home) is None
    config = MeshConfig(new_mesh_id(), "example.org", api_port=7000, capture="transparent")
    save_config(home, config)
    assert load_config(home) == config
    assert mode(home.config_file) == 0o600


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"trustDomain": "example.org"}',
        '{"meshId": "../../x"}',
        '{"meshId": "abcdef", "apiPort": 70000}',
        '{"meshId": "abcdef", "unknown": 1}',
    ],
)
def test_a_damaged_mesh_json_is_named(text: str, tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.config_file.write_text(text)
    with pytest.raises(HomeUnusable, match=f"{home.config_file}: cannot be read: "):
        load_config(home)


def test_one_process_at_a_time_holds_a_home_and_is_known(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert agent_pid(home) is None
    with held_by_another(home) as holder:
        assert agent_pid(home) == holder.pid
        with pytest.raises(AlreadyRunning, match=f"process {holder.pid}"), hold(home):
            pass
        assert agent_pid(home) == holder.pid
    assert agent_pid(home) is None
    with hold(home):
        assert home.node_pid.read_text() == f"{os.getpid()}\n"


def test_a_number_left_by_a_killed_holder_is_nobodys(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with held_by_another(home) as holder:
        holder.kill()
        holder.wait()
    assert home.node_pid.read_text() == f"{holder.pid}\n"
    assert agent_pid(home) is None
