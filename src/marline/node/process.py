"""Child processes: started through `enter.py`, in a session of their own, and never left behind."""

import asyncio
import contextlib
import os
import pwd
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from marline.node import enter
from marline.node.errors import StartFailed

_MAX_LOG_BYTES: Final = 16 * 1024 * 1024
_ENTER: Final = str(Path(enter.__file__))


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start, where, and with which rights."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    """The whole environment."""
    directory: str = ""
    log: Path | None = None
    """Where both outputs are appended; None: those of this process."""
    netns: str = ""
    resolv_conf: str = ""
    user: str = ""
    """A user's name or number; "": this one."""
    gid: int | None = None
    drop_all: bool = False
    """Give up every capability for ever, but for `keep`."""
    keep: tuple[int, ...] = ()
    """Numbers of capabilities (capabilities(7)), of those that this process has."""
    drop_network: bool = False
    """Give up those with which an application could undo its capture."""
    open_files: bool = False
    """Raise the limit of open files to what is allowed."""
    inherit_stdin: bool = False


class Process:
    """A running child. Its process group has its pid."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self.pid = child.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, or minus the number of the signal that ended it; None while it runs."""
        return self._child.returncode

    async def wait(self) -> int:
        return await self._child.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send to the process and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    async def end(self, grace: float) -> int:
        """SIGTERM, then SIGKILL after `grace` seconds. Whatever it started ends with it."""
        if self._child.returncode is None:
            self.signal(signal.SIGTERM)
            # Not asyncio.timeout, which before Python 3.11.3 fails in a task that is being cancelled.
            await asyncio.wait({asyncio.ensure_future(self._child.wait())}, timeout=grace)
        self.signal(signal.SIGKILL)
        return await self._child.wait()


async def spawn(launch: Launch) -> Process:
    """Start a program. That it cannot be executed shows as exit code 126 or 127, as with a shell.

    Raises `StartFailed` if it cannot even be tried.
    """
    arguments = [sys.executable, "-I", "-S", _ENTER, *options_of(launch), "--", *launch.command]
    output: int | None = None
    try:
        output = _open_log(launch.log) if launch.log is not None else None
        child = await asyncio.create_subprocess_exec(
            *arguments,
            env=dict(launch.environment),
            stdin=None if launch.inherit_stdin else asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:  # ValueError: a zero in an argument or in a variable
        reason = error.strerror if isinstance(error, OSError) else None
        raise StartFailed(launch.command[0], reason or str(error)) from error
    finally:
        if output is not None:
            os.close(output)
    return Process(child)


def options_of(launch: Launch) -> Sequence[str]:
    """The options of `enter.py` for this launch. Raises `StartFailed` for a user that is not there."""
    options = [f"--parent={os.getpid()}"]
    if "LC_CTYPE" not in launch.environment:
        options.append("--unset=LC_CTYPE")
    if launch.netns:
        options.append(f"--netns={launch.netns}")
    if launch.resolv_conf:
        options.append(f"--resolv-conf={launch.resolv_conf}")
    if launch.directory:
        options.append(f"--chdir={launch.directory}")
    if launch.user:
        account = _account(launch.user)
        groups = ",".join(str(group) for group in os.getgrouplist(account.pw_name, account.pw_gid))
        if os.geteuid() not in (0, account.pw_uid):
            raise StartFailed("the application", f"only root can run it as another user, {launch.user!r}")
        if os.geteuid() == 0:
            options += [f"--uid={account.pw_uid}", f"--gid={account.pw_gid}", f"--groups={groups}"]
    elif launch.gid is not None:
        options += [f"--gid={launch.gid}", "--groups="]
    if launch.keep:
        options.append(f"--keep={','.join(str(number) for number in launch.keep)}")
    flags = {
        "drop-all": launch.drop_all,
        "drop-network": launch.drop_network,
        "open-files": launch.open_files,
    }
    return [*options, *(f"--{name}" for name, wanted in flags.items() if wanted)]


def _account(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(int(user)) if user.isascii() and user.isdigit() else pwd.getpwnam(user)
    except (KeyError, OverflowError, ValueError) as error:
        raise StartFailed("the application", f"there is no user {user!r} on this machine") from error


def _open_log(path: Path) -> int:
    """Append to a log that only its owner can read; one that has grown large is put aside once."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > _MAX_LOG_BYTES:
            path.replace(path.with_name(path.name + ".1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


async def end_process(pid: int, grace: float) -> bool:
    """End a process that is no child: SIGTERM, and SIGKILL after `grace` seconds. False: there was none."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        gone = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, gone.set)
        try:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            try:
                async with asyncio.timeout(grace):
                    await gone.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                await gone.wait()
        finally:
            loop.remove_reader(descriptor)
    finally:
        os.close(descriptor)
    return True
