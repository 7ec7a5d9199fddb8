"""Processes that outlived the workload that started them: daemons, and children of a killed shell.

A process group is left by whoever wants to, and the kernel kills a dead parent's children but not their
children. The environment goes along on all these ways: every application has its workload's id in it.
"""

import contextlib
import os
import signal
from collections.abc import Collection
from pathlib import Path
from typing import Final

VARIABLE: Final = "MARLINE_WORKLOAD_ID"
_PROC: Final = Path("/proc")


def end_strays(ids: Collection[str]) -> int:
    """Kill every process that belongs to one of these workloads; how many there were.

    One that has changed its environment, or whose environment this user may not read, is not found.
    """
    signs = tuple(f"{VARIABLE}={short_id}".encode() for short_id in ids)
    if not signs:
        return 0
    own = str(os.getpid())
    entries = (entry for entry in _PROC.iterdir() if entry.name.isdecimal() and entry.name != own)
    return sum(_end_if_marked(entry, signs) for entry in entries)


def _end_if_marked(entry: Path, signs: Collection[bytes]) -> bool:
    if not _is_marked(entry, signs):
        return False
    # The number may be another process's since it was read: it is asked again of the one that is held.
    try:
        descriptor = os.pidfd_open(int(entry.name))
    except ProcessLookupError:
        return False
    try:
        if not _is_marked(entry, signs):
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        return True
    finally:
        os.close(descriptor)


def _is_marked(entry: Path, signs: Collection[bytes]) -> bool:
    try:
        variables = (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return False  # it has ended, or is somebody else's
    return any(sign in variables for sign in signs)
