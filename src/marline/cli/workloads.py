"""Workloads as users name them, and as tables show them."""

from collections.abc import Iterable, Sequence
from typing import Final

from marline.cli.exits import Failed, Missing
from marline.cli.output import Column, bad, doubtful, good
from marline.node.workload import WorkloadStatus


def choose_workload(name: str, workloads: Sequence[WorkloadStatus]) -> WorkloadStatus:
    """The one workload that a user means by its name, its service's, or the beginning of either, each
    with `.namespace` where several namespaces have it. Raises `Missing`, and `Failed` if several fit."""
    for fits in (_is_named, _is_of_service, _begins_so):
        found = [item for item in workloads if fits(item, name)]
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(sorted(qualified(item) for item in found))
            raise Failed(f"{name!r} may mean {listed}; name one of them")
    known = ", ".join(sorted(qualified(item) for item in workloads)) or "nothing"
    raise Missing(f"there is no workload {name!r} on this machine; running: {known}")


def qualified(workload: WorkloadStatus) -> str:
    """Name and namespace, as a user may write it."""
    return f"{workload.name}.{workload.namespace}"


def _is_named(item: WorkloadStatus, name: str) -> bool:
    return name in (item.name, item.id, item.node_id, qualified(item))


def _is_of_service(item: WorkloadStatus, name: str) -> bool:
    return name in (item.service, f"{item.service}.{item.namespace}")


def _begins_so(item: WorkloadStatus, name: str) -> bool:
    beginning, dot, namespace = name.partition(".")
    return item.name.startswith(beginning) and (not dot or item.namespace == namespace)


def state_of(workload: WorkloadStatus) -> str:
    """Its state in colour."""
    if workload.state == "running":
        return good("ready") if workload.ready else doubtful("not ready")
    return bad(workload.state) if workload.state in ("failed", "backing off") else doubtful(workload.state)


def listens(workload: WorkloadStatus) -> str:
    """Where its Envoy listens for peers."""
    return ",".join(f"{workload.address}:{port}" for port in workload.ports.values())


COLUMNS: Final = (
    Column[WorkloadStatus]("NAMESPACE", lambda item: item.namespace),
    Column[WorkloadStatus]("WORKLOAD", lambda item: item.name),
    Column[WorkloadStatus]("VERSION", lambda item: item.version or "-"),
    Column[WorkloadStatus]("STATE", state_of),
    Column[WorkloadStatus]("LISTENS", listens),
    Column[WorkloadStatus]("IDENTITY", lambda item: item.spiffe_id),
)


def complaints(workloads: Iterable[WorkloadStatus]) -> str:
    """What keeps those that are not ready from it, and where to read more."""
    lines = [
        f"  {item.name}: {item.message or item.state}" + (f" (see {item.log_file})" if item.log_file else "")
        for item in workloads
        if not item.ready
    ]
    return "\n".join(lines)
