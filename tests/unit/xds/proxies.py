"""Proxies of a small mesh, and someone who hears what becomes of them."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from marline.api.decode import decode
from marline.api.resource import Resource
from marline.mesh.model import Capture, PatchId, Proxy, Role, Workload
from marline.xds.messages import Refused, Settled


@dataclass
class Witness:
    """The hub's observer: each event is a line."""

    events: list[str] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    def connected(self, proxy: Proxy) -> None:
        self.events.append(f"{proxy.node_id} is there")

    def disconnected(self, proxy: Proxy) -> None:
        self.events.append(f"{proxy.node_id} is gone")
        self.left.set()

    def refused(self, proxy: Proxy, refused: Refused) -> None:
        self.events.append(f"{proxy.node_id} refuses {refused.name}")

    def patched(self, proxy: Proxy, patches: frozenset[PatchId]) -> None:
        self.events.append(f"{proxy.node_id} has {len(patches)} patches")

    def settled(self, proxy: Proxy, settled: Settled) -> None:
        self.events.append(f"{proxy.node_id} no longer refuses {settled.name}")


def sidecar(node_id: str, namespace: str = "default") -> Proxy:
    return Proxy(node_id, Role.SIDECAR, Capture.TRANSPARENT, (Workload(namespace, node_id),))


def service(name: str, number: int, namespace: str = "default", **annotations: str) -> Resource[Any]:
    return decode(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
            "spec": {
                "clusterIP": f"10.96.0.{number}",
                "selector": {"app": name},
                "ports": [{"name": "http", "port": 9080}],
            },
        }
    )


def instance(name: str, address: str, namespace: str = "default") -> Resource[Any]:
    return decode(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "WorkloadEntry",
            "metadata": {"name": f"{name}-{address}", "namespace": namespace},
            "spec": {"address": address, "labels": {"app": name}},
        }
    )
