"""Views of small meshes, as an observer would return them."""

from marline.cli.mesh_view import EndView, MeshView, TrafficView, WorkloadView
from marline.node.workload import WorkloadStatus
from marline.xds.status import SYNCED


def workload(service: str, *, ready: bool = True, sync: str = SYNCED, restarts: int = 0) -> WorkloadView:
    status = WorkloadStatus(
        "0123456789", f"{service}-v1-abcde", "default", service, "v1", "sidecar",
        f"sidecar~default~{service}-v1-abcde~node", f"spiffe://cluster.local/ns/default/sa/{service}",
        "127.0.0.1", {"http": 20001}, "", "", state="running", ready=ready, envoy_restarts=restarts,
    )  # fmt: skip
    return WorkloadView(status, sync)


def end(service: str, *, verified: bool = True) -> EndView:
    identity = f"spiffe://cluster.local/ns/default/sa/{service}"
    return EndView(service, "default", "v1", (identity,) if verified else ())


def calls(
    source: str,
    destination: str,
    requests: int = 50,
    *,
    success_rate: float | None = 1.0,
    mtls: bool | None = True,
    verified: bool = True,
    rate: float | None = 5.0,
) -> TrafficView:
    return TrafficView(
        end(source, verified=verified), end(destination, verified=verified), "http", "source",
        requests, success_rate, rate, 0.4, 1500.0, mtls,
    )  # fmt: skip


def mesh(*traffic: TrafficView, workloads: tuple[WorkloadView, ...] = ()) -> MeshView:
    return MeshView(workloads, traffic, ())
