"""Which processes a registration selects, and who a caller is."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from marline.identity import callers
from marline.identity.callers import Caller, unit_of
from marline.identity.errors import InvalidSelector
from marline.identity.selectors import Selector, parse_selector, selects

FACTS = frozenset(
    parse_selector(text)
    for text in ("unix:uid:1000", "unix:gid:100", "unix:path:/usr/bin/backup", "cgroup:path:/a.slice/b")
)


@pytest.mark.parametrize(
    "text",
    ["unix:uid:0", "unix:user:ada", "unix:supplementary_gid:27", "unix:path:/usr/bin/a:b",
     "unix:sha256:" + "0a" * 32, "systemd:id:backup@1.service", "cgroup:path:/backup.slice"],
)  # fmt: skip
def test_selectors_are_read_and_written(text: str) -> None:
    assert str(parse_selector(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "uid:1", "unix:uid:", "unix:uid:-1", "unix:uid:01", "unix:uid:ada", "unix:path:backup",
     "unix:path:/a//b", "unix:sha256:" + "0A" * 32, "systemd:id:backup", "systemd:unit:a.service", "k8s:ns"],
)  # fmt: skip
def test_what_selects_nothing_is_refused(text: str) -> None:
    with pytest.raises(InvalidSelector):
        parse_selector(text)


@pytest.mark.parametrize(
    ("texts", "selected"),
    [
        (["unix:uid:1000"], True),
        (["unix:uid:1000", "unix:path:/usr/bin/backup"], True),
        (["unix:uid:1000", "unix:path:/usr/bin/other"], False),
        (["cgroup:path:/a.slice"], True),
        (["cgroup:path:/a.slice/b"], True),
        (["cgroup:path:/a"], False),
        (["cgroup:path:/a.slice/b/c"], False),
        ([], False),
    ],
)
def test_a_process_is_selected_if_all_is_true_of_it(texts: list[str], selected: bool) -> None:
    assert selects([parse_selector(text) for text in texts], FACTS) is selected


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("/system.slice/backup.service", "backup.service"),
        ("/system.slice/system-backup.slice/backup@1.service/inner", "backup@1.service"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service", "user@1000.service"),
        ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
        ("/docker/nginx.service", ""),
        ("/system.slice", ""),
        ("/", ""),
    ],
)
def test_a_user_cannot_name_a_unit_of_his_own_as_the_systems(cgroup: str, unit: str) -> None:
    assert unit_of(cgroup) == unit


def connected(tmp_path: Path) -> tuple[socket.socket, socket.socket]:
    """A connection to this process: the end that listens, and that of a child which has ended since."""
    listener, ours, theirs = socket.socket(socket.AF_UNIX), *socket.socketpair()
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    script = (
        "import socket, sys\n"
        "made = socket.socket(socket.AF_UNIX); made.connect(sys.argv[1])\n"
        "socket.send_fds(socket.socket(fileno=int(sys.argv[2])), [b'x'], [made.fileno()])\n"
    )
    with listener, ours, theirs:
        command = [sys.executable, "-c", script, str(tmp_path / "s"), str(theirs.fileno())]
        subprocess.run(command, pass_fds=[theirs.fileno()], check=True)
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        return listener.accept()[0], socket.socket(fileno=descriptors[0])


@pytest.mark.parametrize("has_pidfd", [True, False])
def test_whoever_has_ended_is_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_pidfd: bool
) -> None:
    """Its number may be another process's by now."""
    if not has_pidfd:
        monkeypatch.setattr(callers, "pidfd_of", lambda _: None)
    server, client = connected(tmp_path)
    with server, client, pytest.raises(OSError):
        Caller(server)


def test_without_a_handle_a_reused_number_is_known_by_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    monkeypatch.setattr(callers, "pidfd_of", lambda _: None)
    with ours, theirs:
        caller = Caller(ours)
        assert caller.is_there()
        parent, started, session = callers._stat(Path("/proc/self"))
        monkeypatch.setattr(callers, "_stat", lambda _: (parent, started + 1, session))
        assert not caller.is_there()


def test_a_caller_is_known_by_what_it_is() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        caller = Caller(ours)
        facts = caller.facts
        caller.close()
    assert Selector("unix:uid", str(os.geteuid())) in facts.selectors
    assert Selector("unix:path", str(Path("/proc/self/exe").readlink())) in facts.selectors
    assert facts.descends_from(os.getpid())
    assert facts.descends_from(os.getppid())
    assert not facts.descends_from(0)
    assert facts.network == Path("/proc/self/ns/net").stat().st_ino
