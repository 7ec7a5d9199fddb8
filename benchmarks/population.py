"""The mesh that the benchmarks of the control plane are about, and the changes that are made to it.

Every service has one HTTP port and `endpoints` workloads, one of each version in turn; every tenth (or each,
if so asked) has a DestinationRule with two subsets and a VirtualService that shares requests between them.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from marline.api.resource import Ref
from marline.compile.resource import ENDPOINT, VIRTUAL_HOST
from marline.store.remote.client import RemoteStore

NAMESPACE: Final = "default"
PORT: Final = 8080
ROUTED_EVERY: Final = 10
_NETWORKING: Final = "networking.istio.io"
_GATEWAY_API: Final = "gateway.networking.k8s.io"
_AT_A_TIME: Final = 16
"""Requests under way while the mesh is written."""


@dataclass(frozen=True, slots=True)
class Change:
    """One write through the API, and the Envoy resource of every proxy that must follow."""

    ref: Ref
    patch: dict[str, Any]
    status: bool
    type_url: str
    name: str

    async def write(self, store: RemoteStore) -> None:
        if self.status:
            await store.patch_status(self.ref, self.patch)
        else:
            await store.patch(self.ref, self.patch)


def objects(services: int, endpoints: int, routed_every: int = ROUTED_EVERY) -> Iterator[dict[str, Any]]:
    """Everything that is written before the measurement."""
    for number in range(services):
        yield _service(number)
        yield from (_entry(number, index) for index in range(endpoints))
        if number % routed_every == 0:
            yield _destination_rule(number)
            yield virtual_service(number, 1)


async def write(store: RemoteStore, services: int, endpoints: int) -> int:
    """Create it all; returns how many objects that are."""
    todo = objects(services, endpoints)
    written = 0

    async def worker() -> None:
        nonlocal written
        for item in todo:
            await store.create(item)
            written += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_A_TIME):
            group.create_task(worker())
    return written


def endpoint_changes(services: int, count: int) -> Iterator[Change]:
    """An endpoint becomes unready, and at its next turn ready again."""
    for turn in range(count):
        number = _spread(turn // 2, services)
        health = "False" if turn % 2 == 0 else "True"
        yield Change(
            Ref(_NETWORKING, "WorkloadEntry", NAMESPACE, f"service-{number}-0"),
            {"conditions": [{"type": "Healthy", "status": health}]},
            True,
            ENDPOINT,
            f"outbound|{PORT}||{_host(number)}",
        )


def weight_changes(services: int, count: int) -> Iterator[Change]:
    """A canary's share grows by a percent."""
    for turn in range(count):
        number = _spread(turn, services // ROUTED_EVERY) * ROUTED_EVERY
        yield Change(
            Ref(_NETWORKING, "VirtualService", NAMESPACE, f"service-{number}"),
            {"spec": {"http": [_shares(number, 2 + turn % 90)]}},
            False,
            VIRTUAL_HOST,
            f"{PORT}/{_host(number)}:{PORT}",
        )


def _spread(turn: int, among: int) -> int:
    """Numbers that are far from one another, so that nothing of one change helps the next."""
    return turn * 37 % max(1, among)


def _host(number: int) -> str:
    return f"service-{number}.{NAMESPACE}.svc.cluster.local"


def _service(number: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"service-{number}", "namespace": NAMESPACE},
        "spec": {
            "selector": {"app": f"service-{number}"},
            "ports": [{"name": "http", "port": PORT, "protocol": "TCP"}],
        },
    }


def _entry(number: int, index: int) -> dict[str, Any]:
    app = f"service-{number}"
    return {
        "apiVersion": f"{_NETWORKING}/v1",
        "kind": "WorkloadEntry",
        "metadata": {"name": f"{app}-{index}", "namespace": NAMESPACE},
        "spec": {
            "address": f"10.{index}.{number // 250}.{number % 250 + 1}",
            "labels": {"app": app, "version": f"v{index % 2 + 1}", "security.istio.io/tlsMode": "istio"},
            "serviceAccount": app,
        },
    }


def _destination_rule(number: int) -> dict[str, Any]:
    subsets = [{"name": name, "labels": {"version": name}} for name in ("v1", "v2")]
    return {
        "apiVersion": f"{_NETWORKING}/v1",
        "kind": "DestinationRule",
        "metadata": {"name": f"service-{number}", "namespace": NAMESPACE},
        "spec": {"host": f"service-{number}", "subsets": subsets},
    }


def virtual_service(number: int, canary: int) -> dict[str, Any]:
    """A service's rule, which gives its second version `canary` percent."""
    return {
        "apiVersion": f"{_NETWORKING}/v1",
        "kind": "VirtualService",
        "metadata": {"name": f"service-{number}", "namespace": NAMESPACE},
        "spec": {"hosts": [f"service-{number}"], "http": [_shares(number, canary)]},
    }


def _shares(number: int, canary: int) -> dict[str, Any]:
    return {
        "route": [
            {"destination": {"host": f"service-{number}", "subset": "v1"}, "weight": 100 - canary},
            {"destination": {"host": f"service-{number}", "subset": "v2"}, "weight": canary},
        ]
    }


ISTIO_GATEWAY: Final = {
    "apiVersion": f"{_NETWORKING}/v1",
    "kind": "Gateway",
    "metadata": {"name": "edge", "namespace": NAMESPACE},
    "spec": {
        "selector": {"istio": "ingressgateway"},
        "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}],
    },
}
API_GATEWAY: Final = {
    "apiVersion": f"{_GATEWAY_API}/v1",
    "kind": "Gateway",
    "metadata": {"name": "edge", "namespace": NAMESPACE},
    "spec": {
        "gatewayClassName": "marline",
        "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
    },
}


def edge_virtual_service(number: int, canary: int) -> dict[str, Any]:
    """A host of its own at the gateway for a service, of whose second version it has `canary` percent."""
    return {
        "apiVersion": f"{_NETWORKING}/v1",
        "kind": "VirtualService",
        "metadata": {"name": f"edge-{number}", "namespace": NAMESPACE},
        "spec": {
            "hosts": [f"site-{number}.example.com"],
            "gateways": ["edge"],
            "http": [_shares(number, canary)],
        },
    }


def edge_http_route(number: int, canary: int) -> dict[str, Any]:
    """A host of its own at the gateway for a service, which shares requests with the first one."""
    backends = [
        {"name": f"service-{number}", "port": PORT, "weight": 100 - canary},
        {"name": "service-0", "port": PORT, "weight": canary},
    ]
    return {
        "apiVersion": f"{_GATEWAY_API}/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": f"edge-{number}", "namespace": NAMESPACE},
        "spec": {
            "parentRefs": [{"name": "edge"}],
            "hostnames": [f"site-{number}.example.com"],
            "rules": [{"backendRefs": backends}],
        },
    }
