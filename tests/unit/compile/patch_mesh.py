"""A small mesh with EnvoyFilters, and what its proxies are given."""

from typing import Any

import yaml

from marline.api.decode import admit, decode
from marline.api.resource import Resource
from marline.compile.catalog import compile_unit, units
from marline.compile.resource import Blob, Recipe
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

HCM = "envoy.filters.network.http_connection_manager"
REVIEWS = "reviews.default.svc.cluster.local"
_MESH = """
{apiVersion: v1, kind: Service, metadata: {name: reviews, namespace: default},
 spec: {clusterIP: 10.96.0.1, selector: {app: reviews},
  ports: [{name: http, port: 9080}, {name: tcp, port: 9000}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: ratings, namespace: default},
 spec: {clusterIP: 10.96.0.2, selector: {app: ratings}, ports: [{name: tcp, port: 7000}]}}
---
{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: reviews, namespace: default},
 spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: site, namespace: default},
 spec: {hosts: [site.example.com], gateways: [edge],
  http: [{name: all, route: [{destination: {host: reviews}}]}]}}
---
{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: edge, namespace: default},
 spec: {selector: {istio: ingressgateway}, servers: [
  {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}}
"""
_WORKLOAD = Workload(
    "default",
    "reviews-1",
    "reviews",
    labels=(("app", "reviews"),),
    inbound=(InboundPort("http", 9080, "127.0.0.1", 9080, Protocol.HTTP),),
    upstreams=(Upstream("reviews", 9080, 31001),),
    http_proxy_port=31000,
)
TRANSPARENT = Proxy("transparent", Role.SIDECAR, Capture.TRANSPARENT, (_WORKLOAD,))
EXPLICIT = Proxy("explicit", Role.SIDECAR, Capture.EXPLICIT, (_WORKLOAD,))
GATEWAY = Proxy(
    "gateway",
    Role.GATEWAY,
    Capture.EXPLICIT,
    (Workload("istio-system", "gateway-1", labels=(("istio", "ingressgateway"),)),),
    gateway_ports=(GatewayPort(80, 8080),),
)


def envoy_filter(patches: str, name: str = "patches", **said: Any) -> Resource[Any]:
    """An EnvoyFilter that is admitted, with these `configPatches` (YAML). Said: `namespace`, `created`, and
    what else its spec has."""
    metadata = {
        "name": name,
        "namespace": said.pop("namespace", "istio-system"),
        "creationTimestamp": said.pop("created", "2026-01-01T00:00:00Z"),
    }
    head = {"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter", "metadata": metadata}
    return admit({**head, "spec": {"configPatches": yaml.safe_load(patches), **said}})


def mesh(*patches: Resource[Any]) -> MeshSnapshot:
    documents = tuple(decode(item) for item in yaml.safe_load_all(_MESH))
    return advance(empty(MeshSettings()), ChangeSet((*documents, *patches), (), "1"))[0]


def recipes(snapshot: MeshSnapshot, proxy: Proxy) -> list[Recipe]:
    return [item for unit in units(snapshot, proxy) for item in compile_unit(snapshot, proxy, unit)]


def made(snapshot: MeshSnapshot, proxy: Proxy, name: str) -> Any:
    """The message of this name that is not an endpoint assignment."""
    (found,) = (
        item
        for item in recipes(snapshot, proxy)
        if item.name == name and not item.type_url.endswith("ClusterLoadAssignment")
    )
    return found.build(*found.inputs)


def patched(snapshot: MeshSnapshot, proxy: Proxy) -> dict[str, list[int]]:
    """Which patches (by their index) are in which resources."""
    blobs: list[Blob] = [item.make() for item in recipes(snapshot, proxy)]
    return {blob.name: sorted(item.index for item in blob.patches) for blob in blobs if blob.patches}
