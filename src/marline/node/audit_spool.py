"""The files in which Envoys have written of audited requests, on their way into the log.

An Envoy appends to a file in its own directory, and asks nobody. Whoever takes it away renames it into the
spool. The name of a spooled file says which workload's it is, and whether it is `open`, Envoy may still write
to it, or `whole`.
"""

import contextlib
import time
from pathlib import Path

from marline.compile.authorization_logs import AUDIT_FILE
from marline.node.home import Home


def take(home: Home, directory: Path, state: str = "open") -> Path | None:
    """Rename what a workload's Envoy has written; None: that is nothing. Raises OSError."""
    file = directory / AUDIT_FILE
    with contextlib.suppress(FileNotFoundError):
        if file.stat().st_size:
            home.request_spool.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.chmod(0o600)
            return file.rename(home.request_spool / f"{time.time_ns():020d}-{directory.name}.{state}")
    return None


def seal(home: Home, directory: Path) -> None:
    """Take what a workload's Envoy has written that does not run any more. Raises OSError."""
    # In this order: what somebody else takes meanwhile is found as well.
    take(home, directory, "whole")
    for file in home.request_spool.glob(f"*-{directory.name}.open"):
        close(file)


def close(file: Path) -> None:
    """Nobody writes to it any more. Whoever ends an Envoy and whoever keeps the log may both say so."""
    with contextlib.suppress(FileNotFoundError):
        file.rename(file.with_suffix(".whole"))


def still_open(home: Home) -> dict[str, Path]:
    """By the workload's short ID."""
    return {file.stem.partition("-")[2]: file for file in home.request_spool.glob("*.open")}


def whole(home: Home) -> tuple[Path, ...]:
    """The oldest first."""
    return tuple(sorted(home.request_spool.glob("*.whole")))
