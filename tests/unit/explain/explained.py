"""Small meshes from YAML, and what is explained of requests in them."""

from typing import Any

import yaml

from marline.api.decode import decode
from marline.explain.journey import explain
from marline.explain.steps import Explanation, Step
from marline.explain.target import parse_target
from marline.explain.view import CompiledView
from marline.mesh.model import (
    Capture,
    ChangeSet,
    GatewayPort,
    InboundPort,
    MeshSettings,
    Protocol,
    Proxy,
    Role,
    Upstream,
    Workload,
)
from marline.mesh.snapshot import MeshSnapshot, advance, empty

REVIEWS = """
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {clusterIP: 10.96.0.1, selector: {app: reviews}, ports: [{name: http, port: 9080}]}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: reviews-v1}
spec: {address: 10.0.0.1, serviceAccount: reviews,
  labels: {app: reviews, version: v1, security.istio.io/tlsMode: istio}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: reviews-v3}
spec: {address: 10.0.0.3, serviceAccount: reviews,
  labels: {app: reviews, version: v3, security.istio.io/tlsMode: istio}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets: [{name: v1, labels: {version: v1}}, {name: v3, labels: {version: v3}}]
---
"""
SERVED = (InboundPort("http", 9080, "127.0.0.1", 9080, Protocol.HTTP),)


def resources(text: str) -> tuple[Any, ...]:
    """Namespace `default`, oldest first."""
    made = []
    for index, obj in enumerate(item for item in yaml.safe_load_all(text) if item):
        obj["metadata"].setdefault("namespace", "default")
        obj["metadata"].setdefault("creationTimestamp", f"2026-01-01T00:00:{index:02d}Z")
        made.append(decode(obj))
    return tuple(made)


def mesh(text: str) -> MeshSnapshot:
    return advance(empty(MeshSettings()), ChangeSet(resources(text), (), "1"))[0]


def virtual_service(http: str, name: str = "reviews") -> str:
    """As YAML; `http`: its rules."""
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}}}
spec: {{hosts: [{name}], http: {http}}}
---
"""


def sidecar(*upstreams: Upstream, explicit: bool = False, namespace: str = "default", **labels: str) -> Proxy:
    workload = Workload(
        namespace, "client", labels=tuple(sorted(labels.items())), upstreams=upstreams,
        http_proxy_port=31000 if explicit else 0,
    )  # fmt: skip
    capture = Capture.EXPLICIT if explicit else Capture.TRANSPARENT
    return Proxy("client", Role.SIDECAR, capture, (workload,), "127.0.0.1" if explicit else "")


def server(name: str, address: str, account: str = "reviews", **labels: str) -> Proxy:
    """The sidecar of a workload that serves HTTP on 9080."""
    workload = Workload("default", name, account, tuple(sorted(labels.items())), address, SERVED)
    return Proxy(name, Role.SIDECAR, Capture.TRANSPARENT, (workload,))


def ingress(**labels: str) -> Proxy:
    chosen = tuple(sorted((labels or {"istio": "ingressgateway"}).items()))
    workload = Workload("istio-system", "ingress", labels=chosen)
    ports = (GatewayPort(80, 8080), GatewayPort(443, 8443))
    return Proxy("gateway", Role.GATEWAY, Capture.EXPLICIT, (workload,), "127.0.0.1", ports)


def ask(
    snapshot: MeshSnapshot,
    destination: str,
    source: Proxy | None = None,
    *peers: Proxy,
    method: str = "GET",
    path: str | None = None,
    observed: dict[tuple[str, str], str] | None = None,
    **headers: str,
) -> Explanation:
    """What is explained of a request; `_` in the names of headers stands for `-`."""
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    target = parse_target(destination, method, path, pairs)
    return explain(CompiledView.of(snapshot, source or sidecar()), peers, target, observed)


def step(found: Explanation, topic: str) -> Step:
    return next(item for item in found.steps if item.topic == topic)


def decided_by(found: Explanation, topic: str) -> str:
    place = step(found, topic).place
    return f"{place.resource} {place.field}".rstrip() if place is not None else ""


def details(found: Explanation, topic: str) -> list[str]:
    return [
        f"{item.text} [{item.place.field}]" if item.place is not None and item.place.field else item.text
        for item in step(found, topic).details
    ]
