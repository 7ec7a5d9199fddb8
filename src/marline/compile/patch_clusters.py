"""Patches of a cluster."""

from collections.abc import Iterable, Iterator
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2

from marline.compile.patch_match import Site, cluster_matches
from marline.compile.patch_merge import merge, merge_any
from marline.compile.telemetry import METADATA
from marline.mesh.model import PatchId
from marline.mesh.patches import Patch


def patch_cluster(cluster: Any, patches: Iterable[Patch], site: Site) -> Iterator[PatchId]:
    """Apply patches to a cluster; one without a name afterwards is to be removed. Yields which applied."""
    name = cluster.name
    service = _service(cluster)
    for patch in patches:
        if not (site.has(patch) and cluster_matches(patch, name, service)):
            continue
        if patch.operation == "REMOVE":
            cluster.Clear()
            yield patch.id
            return
        value = cluster_pb2.Cluster.FromString(patch.value)
        if _merge_cluster(cluster, value, patch.operation):
            yield patch.id
        cluster.name = name


def _service(cluster: Any) -> str:
    """The host that a cluster is of, as its metadata says."""
    held = cluster.metadata.filter_metadata
    return str(held[METADATA]["service"]) if METADATA in held else ""


def _merge_cluster(cluster: Any, value: Any, operation: str) -> bool:
    """As Istio, a transport socket is merged into the one of its name, also where endpoints choose among
    several; without one of its name there it has no place, and elsewhere it takes the place of another."""
    has_socket = value.HasField("transport_socket")
    socket = value.transport_socket
    rest = type(value)()
    rest.CopyFrom(value)
    rest.ClearField("transport_socket")
    merge(cluster, rest, operation)
    if not has_socket:
        return True
    matching = [item.transport_socket for item in cluster.transport_socket_matches]
    candidates = matching or ([cluster.transport_socket] if cluster.HasField("transport_socket") else [])
    target = next((item for item in candidates if item.name == socket.name), None)
    if target is not None:
        merge_any(target.typed_config, socket.typed_config)
    elif not matching:
        cluster.transport_socket.CopyFrom(socket)
    return target is not None or not matching
