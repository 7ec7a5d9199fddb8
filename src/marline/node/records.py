"""What runs below a home, also in other processes: each runner keeps a record beside its sockets."""

import logging
import shutil

import msgspec

from marline.node.audit_spool import seal
from marline.node.home import Home
from marline.node.ports import Reservations
from marline.node.strays import end_strays
from marline.node.workload import WorkloadStatus

_log = logging.getLogger(__name__)


def mark(short_id: str) -> str:
    """The name that a runner reserves as long as it lives, see `Reservations`."""
    return f"workload/{short_id}"


def is_alive(short_id: str) -> bool:
    """Does the process still run that keeps this record? A pid could be somebody else's by now."""
    trial = Reservations()
    try:
        return not trial.claim(mark(short_id))
    finally:
        trial.release()


def recorded(home: Home) -> tuple[WorkloadStatus, ...]:
    """All workloads and gateways that run below this home, whichever process hosts them."""
    found = []
    for directory in sorted(home.workloads.glob("*")):
        try:
            status = msgspec.json.decode(
                (directory / "workload.json").read_bytes(), type=WorkloadStatus, strict=True
            )
        except (OSError, msgspec.DecodeError):
            continue
        if is_alive(status.id):
            found.append(status)
    return tuple(found)


def sweep(home: Home) -> None:
    """Remove what processes that were killed have left behind, and end what they had started."""
    dead = [directory for directory in home.workloads.glob("*") if not is_alive(directory.name)]
    end_strays([directory.name for directory in dead])
    for directory in dead:
        try:
            seal(home, directory)
        except OSError as error:
            _log.error("what %s has of audited requests stays: %s", directory, error)
            continue
        shutil.rmtree(directory, ignore_errors=True)
    for path in (home.node_socket, home.notify_socket, home.xds_socket):
        path.unlink(missing_ok=True)
