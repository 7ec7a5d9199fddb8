"""A client's sidecar that calls one service of several backends, which have no sidecars."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import yaml
from routing_envoy import Backend, RunningEnvoy, backend
from static_mesh import envoy_for, free_port, snapshot_of

from marline.mesh.endpoints import parse_locality
from marline.mesh.model import Capture, Proxy, Role, Upstream, Workload, labels_of

_ISTIO = "networking.istio.io/v1"


@dataclass
class Caller:
    """The client behind its sidecar, and those who may answer."""

    envoy: RunningEnvoy
    session: aiohttp.ClientSession
    url: str
    backends: Mapping[str, Backend]

    @property
    def port(self) -> int:
        """Where the client's application finds the service."""
        return int(self.url.rpartition(":")[2])

    async def stat(self, name: str) -> int:
        """A statistic of the service's cluster; 0 while there is none."""
        lines = (await self.envoy.admin(f"/stats?filter=^cluster.outbound.9080.*{name}$")).splitlines()
        return sum(int(line.rpartition(": ")[2]) for line in lines)

    async def wait_for_stat(self, name: str, value: int) -> None:
        async with asyncio.timeout(20):
            while await self.stat(name) != value:  # noqa: ASYNC110 (Envoy's state, asked for)
                await asyncio.sleep(0.02)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of the application's."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def together(self, count: int, path: str = "/") -> Counter[int]:
        """The statuses of so many requests at once."""
        return Counter(
            [status for status, _ in await asyncio.gather(*(self.get(path) for _ in range(count)))]
        )

    async def get(self, path: str = "/", **headers: str) -> tuple[int, str]:
        """The status and the backend that answered."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.get(self.url + path, headers=named) as response:
            name = (await response.json())["backend"] if response.headers.get("x-from-app") else ""
            return response.status, name

    async def answers(self, count: int = 30) -> Counter[str]:
        """Who answers so many requests."""
        return Counter([(await self.get())[1] for _ in range(count)])


def rule(policy: str, more: str = "") -> str:
    """A DestinationRule for the service, with the given `trafficPolicy` (YAML)."""
    return f"""
apiVersion: {_ISTIO}
kind: DestinationRule
metadata: {{name: reviews, namespace: default}}
spec: {{host: reviews, trafficPolicy: {policy}{more}}}
"""


def _documents(backends: Mapping[str, Backend], spec: Mapping[str, Mapping[str, Any]], service: str) -> str:
    called = {
        "clusterIP": "10.96.0.1",
        "selector": {"app": "reviews"},
        "ports": [{"name": "http", "port": 9080}],
        **yaml.safe_load(service),
    }
    metadata = {"name": "reviews", "namespace": "default"}
    port = called["ports"][0]["name"]
    described: list[Any] = [{"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": called}]
    for name, made in backends.items():
        entry = dict(spec[name])
        labels = {"app": "reviews", **entry.pop("labels", {})}
        own = {"name": name, "namespace": "default", "annotations": entry.pop("annotations", {})}
        described.append(
            {
                "apiVersion": _ISTIO,
                "kind": "WorkloadEntry",
                "metadata": own,
                "spec": {"address": "127.0.0.1", "ports": {port: made.port}, "labels": labels, **entry},
            }
        )
    return yaml.safe_dump_all(described)


@asynccontextmanager
async def called(
    backends: Mapping[str, Mapping[str, Any]],
    *rules: str,
    service: str = "{}",
    locality: str = "",
    labels: Mapping[str, str] | None = None,
) -> AsyncIterator[Caller]:
    """`backends`: more of their WorkloadEntries' specs (and their annotations); `service`: more of the
    Service's spec (YAML)."""
    async with AsyncExitStack() as stack:
        made = {name: await stack.enter_async_context(backend(name)) for name in backends}
        text = "\n---\n".join((_documents(made, backends, service), *rules))
        listen = free_port()
        workload = Workload(
            "default",
            "client",
            labels=labels_of(labels or {}),
            upstreams=(Upstream("reviews", 9080, listen),),
            locality=parse_locality(locality),
        )
        proxy = Proxy("client", Role.SIDECAR, Capture.EXPLICIT, (workload,))
        envoy = await stack.enter_async_context(envoy_for(snapshot_of(text), proxy))
        connector = aiohttp.TCPConnector(limit=0)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        yield Caller(envoy, session, f"http://127.0.0.1:{listen}", made)
