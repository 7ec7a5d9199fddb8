"""Child processes: their logs, rights and groups, how they are ended, and what ends with them."""

import asyncio
import os
import signal
import stat
import sys
from pathlib import Path

import pytest

from marline.node.envoy import NET_BIND_SERVICE
from marline.node.errors import StartFailed
from marline.node.process import Launch, Process, end_process, options_of, spawn

needs_root = (
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up"),
)
DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('deaf', flush=True); time.sleep(99)"
)
PARENT = (
    "import subprocess, sys, time;"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)']);"
    "print(child.pid, flush=True); time.sleep(99)"
)


def python(code: str, log: Path, **more: object) -> Launch:
    return Launch((sys.executable, "-c", code), {"PATH": os.defpath}, log=log, **more)  # type: ignore[arg-type]


async def said(process: Process, log: Path) -> str:
    """What it has printed, once there is something."""
    async with asyncio.timeout(20):
        while not (text := log.read_text()).endswith("\n"):  # noqa: ASYNC240 (a small file)
            assert process.returncode is None, text
            await asyncio.sleep(0.02)  # a file: nobody tells when it grows
    return text.strip()


async def output(launch: Launch) -> str:
    """What a program prints until it ends well."""
    assert launch.log is not None
    process = await spawn(launch)
    assert await process.wait() == 0, launch.log.read_text()
    return launch.log.read_text().strip()


async def test_its_output_is_appended_to_a_log_that_only_its_owner_reads(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for text in ("one", "two"):
        await output(python(f"import sys; print({text!r}, file=sys.stderr)", log))
    assert log.read_text() == "one\ntwo\n"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


async def test_a_log_that_has_grown_large_is_put_aside_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for _ in range(2):
        with log.open("wb") as file:
            file.truncate(17 * 1024 * 1024)
        assert await output(python("print('new')", log)) == "new"
    with os.scandir(tmp_path) as found:
        assert sorted(entry.name for entry in found) == ["log", "log.1"]


async def test_its_environment_is_the_one_that_is_given(tmp_path: Path) -> None:
    launch = Launch(("env",), {"PATH": os.defpath, "A": "b c"}, log=tmp_path / "log")
    assert sorted((await output(launch)).splitlines()) == ["A=b c", f"PATH={os.defpath}"]


async def test_it_runs_where_it_is_told_and_leads_a_group_of_its_own(tmp_path: Path) -> None:
    code = "import os; print(os.getcwd(), os.getpid() == os.getpgrp() == os.getsid(0))"
    assert await output(python(code, tmp_path / "log", directory=str(tmp_path))) == f"{tmp_path} True"


@pytest.mark.parametrize(
    ("name", "mode", "code"), [("missing", None, 127), ("plain", 0o600, 126), ("directory", 0, 126)]
)
async def test_what_cannot_be_executed_ends_as_in_a_shell(
    name: str, mode: int | None, code: int, tmp_path: Path
) -> None:
    path = tmp_path / name
    if mode is not None:
        path.touch(mode) if mode else path.mkdir()
    process = await spawn(Launch((str(path),), {}, log=tmp_path / "log"))
    assert await process.wait() == code
    assert f"marline: cannot run {path}: " in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    "launch",
    [
        Launch(("true",), log=Path("/proc/no/log")),
        Launch(("true", "a\0b")),
        Launch(("true",), {"A": "a\0b"}),
        Launch(("true",), user="no-such-user"),
        Launch(("true",), user="99999999999999999999"),
        Launch(("true",), user="²"),
    ],
    ids=["log", "argument", "variable", "user", "number", "digit"],
)
async def test_what_cannot_even_be_tried_is_said(launch: Launch) -> None:
    with pytest.raises(StartFailed):
        await spawn(launch)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may run as anybody")
def test_another_user_is_for_root_to_choose() -> None:
    assert options_of(Launch(("true",), user=str(os.geteuid())))
    with pytest.raises(StartFailed, match="only root can run it as another user, 'root'"):
        options_of(Launch(("true",), user="root"))


async def test_it_is_asked_to_end_first(tmp_path: Path) -> None:
    process = await spawn(Launch(("sleep", "99"), {"PATH": os.defpath}, log=tmp_path / "log"))
    assert await process.end(20) == -signal.SIGTERM


async def test_what_does_not_end_when_asked_is_killed(tmp_path: Path) -> None:
    process = await spawn(python(DEAF, tmp_path / "log"))
    await said(process, tmp_path / "log")
    assert await process.end(0.2) == -signal.SIGKILL


async def test_its_children_end_with_it(tmp_path: Path) -> None:
    process = await spawn(python(PARENT, tmp_path / "log"))
    descriptor = os.pidfd_open(int(await said(process, tmp_path / "log")))
    await process.end(20)
    await gone(descriptor)


async def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """SIGKILL gives no process the time to clean up."""
    code = (
        "import asyncio, pathlib, sys\nfrom marline.node.process import Launch, spawn\n"
        "async def main():\n"
        "    child = await spawn(Launch(('sleep', '99'), {'PATH': '/usr/bin:/bin'}))\n"
        "    print(child.pid, flush=True)\n"
        "    await child.wait()\n"
        "asyncio.run(main())"
    )
    starter = await spawn(python(code, tmp_path / "log"))
    descriptor = os.pidfd_open(int(await said(starter, tmp_path / "log")))
    os.kill(starter.pid, signal.SIGKILL)
    await starter.wait()
    await gone(descriptor)


async def gone(descriptor: int) -> None:
    """Until the process of a pidfd has ended."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, ended.set)
    try:
        async with asyncio.timeout(10):
            await ended.wait()
    finally:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


async def test_a_process_that_is_no_child_is_ended_too(tmp_path: Path) -> None:
    process = await spawn(python(DEAF, tmp_path / "log"))
    await said(process, tmp_path / "log")
    assert await end_process(process.pid, 0.2)
    assert await process.wait() == -signal.SIGKILL
    assert not await end_process(process.pid, 0.2)


@pytest.mark.parametrize(
    ("rights", "capabilities", "no_new_privileges"),
    [
        pytest.param({"drop_all": True}, 0, "1", marks=needs_root),
        pytest.param(
            {"drop_all": True, "keep": (NET_BIND_SERVICE,)}, 1 << NET_BIND_SERVICE, "1", marks=needs_root
        ),
        pytest.param({"user": "nobody"}, 0, "0", marks=needs_root),
    ],
)
async def test_it_has_the_rights_that_are_left_to_it(
    rights: dict[str, object], capabilities: int, no_new_privileges: str, tmp_path: Path
) -> None:
    command = ("/usr/bin/env", "cat", "/proc/self/status")
    launch = Launch(command, log=tmp_path / "log", **rights)  # type: ignore[arg-type]
    lines = dict(line.split(":\t", 1) for line in (await output(launch)).splitlines())
    assert int(lines["CapInh"], 16) == int(lines["CapAmb"], 16) == 0
    assert int(lines["CapEff"], 16) == int(lines["CapPrm"], 16) == capabilities
    assert lines["NoNewPrivs"] == no_new_privileges


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
async def test_an_application_in_a_captured_namespace_cannot_undo_the_capture(tmp_path: Path) -> None:
    launch = Launch(
        ("cat", "/proc/self/status"), {"PATH": os.defpath}, log=tmp_path / "log", drop_network=True
    )
    lines = dict(line.split(":\t", 1) for line in (await output(launch)).splitlines())
    for name in ("CapBnd", "CapEff", "CapPrm"):
        assert not int(lines[name], 16) & (1 << 12 | 1 << 13 | 1 << 21), name
    assert int(lines["CapEff"], 16) & 1, "it keeps CAP_CHOWN, as any root"
