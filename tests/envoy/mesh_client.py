"""A client's sidecar in a small mesh, before real backends: what a VirtualService does to who calls.

    async with called(RULES, "app/v1", "app/v2") as mesh:
        reply = await mesh.send("app", "/path")

Backends have no sidecars. `app/v1` is a workload of the service `app` with the label `version: v1`.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
from routing_envoy import Backend, Reply, RoutedClient, RunningEnvoy, backend
from static_mesh import envoy_for, free_port, snapshot_of

from marline.mesh.model import Capture, Proxy, Role, Upstream, Workload
from marline.mesh.snapshot import MeshSnapshot

PORT = 9080
_SERVICE = """
---
apiVersion: v1
kind: Service
metadata: {name: %(name)s, namespace: default}
spec: {selector: {app: %(name)s}, ports: [{name: %(port)s, port: 9080}]}
"""
_WORKLOAD = """
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: %(app)s-%(version)s, namespace: default}
spec: {address: 127.0.0.1, ports: {%(name)s: %(port)d}, labels: {app: %(app)s, version: "%(version)s"}}
"""


def service(name: str, port: str = "http") -> str:
    return _SERVICE % {"name": name, "port": port}


def workload(app: str, version: str, port: int, name: str = "http") -> str:
    return _WORKLOAD % {"app": app, "version": version, "port": port, "name": name}


def subsets(name: str, *versions: str, policy: str = "{}") -> str:
    """A DestinationRule with a subset for each version."""
    listed = ", ".join(f"{{name: {version}, labels: {{version: {version}}}}}" for version in versions)
    return f"""
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: default}}
spec: {{host: {name}, subsets: [{listed}], trafficPolicy: {policy}}}
"""


@dataclass
class Called:
    """The client's sidecar and the backends behind it, by name."""

    envoy: RunningEnvoy
    session: aiohttp.ClientSession
    ports: Mapping[str, int]
    http_proxy: int
    backends: Mapping[str, Backend]
    snapshot: MeshSnapshot

    async def send(self, host: str, path: str = "/", method: str = "GET", **headers: str) -> Reply:
        """A request to a service, through the listener that stands for it."""
        client = RoutedClient(self.session, self.ports[host])
        return await client.send(path, method, **{"Host": f"{host}:{PORT}", **headers})

    async def proxied(self, url: str, **headers: str) -> Reply:
        """A request through the HTTP proxy, which is for any host."""
        proxy = f"http://127.0.0.1:{self.http_proxy}"
        async with self.session.get(url, proxy=proxy, headers=headers, allow_redirects=False) as response:
            return await Reply.of(response)


@asynccontextmanager
async def called(
    resources: str, *backends: str, labels: Mapping[str, str] | None = None, namespace: str = "default"
) -> AsyncIterator[Called]:
    """`labels` and `namespace` are the client's."""
    names = dict.fromkeys(item.partition("/")[0] for item in backends)
    async with AsyncExitStack() as stack:
        running = {name: await stack.enter_async_context(backend(name)) for name in backends}
        text = "".join(service(name) for name in names)
        for name, made in running.items():
            app, _, version = name.partition("/")
            text += workload(app, version or "v1", made.port)
        ports, http_proxy = {name: free_port() for name in names}, free_port()
        client = Workload(
            namespace,
            "client",
            labels=tuple(sorted((labels or {}).items())),
            upstreams=tuple(
                Upstream(f"{name}.default.svc.cluster.local", PORT, port) for name, port in ports.items()
            ),
            http_proxy_port=http_proxy,
        )
        snapshot = snapshot_of(text + resources)
        proxy = Proxy("client", Role.SIDECAR, Capture.EXPLICIT, (client,))
        envoy = await stack.enter_async_context(envoy_for(snapshot, proxy))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Called(envoy, session, ports, http_proxy, running, snapshot)
