"""A `MeshView` as tables."""

from typing import Final

from marline.cli.mesh_view import EndView, MeshView, TrafficView, WorkloadView
from marline.cli.output import Column, bad, doubtful, good, milliseconds, table, visible_width
from marline.cli.workloads import listens, state_of
from marline.xds.status import REJECTED, SYNCED

WORKLOADS: Final = (
    Column[WorkloadView]("NAMESPACE", lambda item: item.status.namespace),
    Column[WorkloadView]("WORKLOAD", lambda item: item.status.name),
    Column[WorkloadView]("SERVICE", lambda item: item.status.service, wide=True),
    Column[WorkloadView]("VERSION", lambda item: item.status.version or "-"),
    Column[WorkloadView]("STATE", lambda item: state_of(item.status)),
    Column[WorkloadView]("PROXY", lambda item: _sync(item)),
    Column[WorkloadView]("RESTARTS", lambda item: _restarts(item), right=True),
    Column[WorkloadView]("LISTENS", lambda item: listens(item.status) or "-"),
    Column[WorkloadView]("PID", lambda item: item.status.app_pid or item.status.envoy_pid or "-", wide=True),
    Column[WorkloadView]("CAPTURE", lambda item: item.status.capture, wide=True),
    Column[WorkloadView]("IDENTITY", lambda item: item.status.spiffe_id or "-"),
)
TRAFFIC: Final = (
    Column[TrafficView]("FROM", lambda item: _end(item.source)),
    Column[TrafficView]("TO", lambda item: _end(item.destination)),
    Column[TrafficView]("RPS", lambda item: _number(item.requests_per_second), right=True),
    Column[TrafficView]("SUCCESS", lambda item: _share(item.success_rate), right=True),
    Column[TrafficView]("P50", lambda item: _latency(item.p50_milliseconds), right=True),
    Column[TrafficView]("P99", lambda item: _latency(item.p99_milliseconds), right=True),
    Column[TrafficView]("MTLS", lambda item: _mtls(item.mtls)),
    Column[TrafficView]("TOTAL", lambda item: item.requests, right=True),
    Column[TrafficView]("PROTOCOL", lambda item: item.protocol, wide=True),
    Column[TrafficView]("CALLER", lambda item: _identities(item.source), wide=True),
    Column[TrafficView]("SERVER", lambda item: _identities(item.destination), wide=True),
)


_DISPENSABLE: Final = ("LISTENS", "RESTARTS", "NAMESPACE")
"""What is left out first where there is no room for everything."""


def render(view: MeshView, *, wide: bool = False, width: int = 0) -> str:
    """Workloads, traffic, and what could not be learnt; where possible in `width` columns (0: in any)."""
    parts = [_workloads(view, wide, width) if view.workloads else "no workload is running"]
    if view.traffic:
        parts.append(table(view.traffic, TRAFFIC, wide=wide))
    elif view.workloads:
        parts.append("no traffic yet")
    parts += [doubtful(f"note: {note}") for note in view.notes]
    return "\n\n".join(parts)


def _workloads(view: MeshView, wide: bool, width: int) -> str:
    shown = table(view.workloads, WORKLOADS, wide=wide)
    left_out: list[str] = []
    for title in _DISPENSABLE:
        if not width or max(visible_width(line) for line in shown.split("\n")) <= width:
            break
        left_out.append(title)
        columns = [column for column in WORKLOADS if column.title not in left_out]
        shown = table(view.workloads, columns, wide=wide)
    return shown


def _sync(item: WorkloadView) -> str:
    state = item.sync
    if item.status.kind == "identity":
        return "-"
    if not state:
        return doubtful("unknown")
    return good(state) if state == SYNCED else bad(state) if state == REJECTED else doubtful(state)


def _restarts(item: WorkloadView) -> str:
    status = item.status
    return f"{status.app_restarts}" + (f" (proxy {status.envoy_restarts})" if status.envoy_restarts else "")


def _end(end: EndView) -> str:
    return f"{end.qualified} {end.version}".rstrip()


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _latency(value: float | None) -> str:
    return "-" if value is None else milliseconds(value)


def _share(value: float | None) -> str:
    """Never rounded to 100 % while something failed."""
    if value is None:
        return "-"
    text = "100%" if value == 1 else f"{min(value * 100, 99.9):.1f}%"
    return good(text) if value == 1 else doubtful(text) if value >= 0.99 else bad(text)


def _mtls(value: bool | None) -> str:
    return "-" if value is None else good("yes") if value else bad("no")


def _identities(end: EndView) -> str:
    return ",".join(end.identities) or "-"
