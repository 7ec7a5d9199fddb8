"""Small meshes written as YAML."""

from typing import Any

import yaml

from marline.api.decode import decode
from marline.api.resource import Resource
from marline.mesh.model import ChangeSet, Impact, MeshSettings
from marline.mesh.snapshot import MeshSnapshot, advance, empty

_KINDS = {
    "Service": "v1",
    "Secret": "v1",
    "Namespace": "v1",
    "EndpointSlice": "discovery.k8s.io/v1",
    "PeerAuthentication": "security.istio.io/v1",
    "ProxyConfig": "networking.istio.io/v1beta1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
}


def resource(kind: str, name: str, namespace: str = "default", **fields: Any) -> Resource[Any]:
    """`status`, `labels`, `annotations`, `created` and `generation` are taken apart; a `spec` is made of
    the rest, or the body where a kind has no spec."""
    metadata = {"name": name, "namespace": namespace}
    for field in ("labels", "annotations", "generation"):
        if field in fields:
            metadata[field] = fields.pop(field)
    if "created" in fields:
        metadata["creationTimestamp"] = fields.pop("created")
    made = {"apiVersion": _KINDS.get(kind, "networking.istio.io/v1"), "kind": kind, "metadata": metadata}
    if "status" in fields:
        made["status"] = fields.pop("status")
    return decode({**made, **(fields if kind == "EndpointSlice" else {"spec": fields})})


def service(name: str, ports: str = "http:9080", namespace: str = "default", **spec: Any) -> Resource[Any]:
    """A core Service; ports as `name:number`, separated by blanks."""
    pairs = [item.split(":") for item in ports.split()]
    return resource(
        "Service",
        name,
        namespace,
        ports=[{"name": port, "port": int(number)} for port, number in pairs],
        **{"selector": {"app": name}, "clusterIP": "10.96.0.1", **spec},
    )


def workload(app: str, number: int = 1, namespace: str = "default", **fields: Any) -> Resource[Any]:
    """A WorkloadEntry of a Marline sidecar."""
    labels = {"app": app, "version": f"v{number}", "security.istio.io/tlsMode": "istio"}
    spec = {"address": f"10.0.0.{number}", "serviceAccount": app, "labels": labels, **fields}
    return resource("WorkloadEntry", f"{app}-{number}", namespace, **spec)


def mesh(*resources: Resource[Any]) -> MeshSnapshot:
    return advance(empty(MeshSettings()), ChangeSet(resources, (), "1"))[0]


def changed(snapshot: MeshSnapshot, *resources: Resource[Any]) -> tuple[MeshSnapshot, Impact]:
    return advance(snapshot, ChangeSet(resources, (), "2"))


def documents(text: str) -> tuple[Resource[Any], ...]:
    return tuple(decode(item) for item in yaml.safe_load_all(text) if item)
