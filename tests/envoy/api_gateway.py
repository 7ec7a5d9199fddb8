"""A real Envoy as the proxy of Gateways of the Gateway API, with all that a mesh compiles for it."""

import base64
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import yaml
from aiohttp.abc import AbstractResolver, ResolveResult
from routing_envoy import Reply, RoutedClient, RunningEnvoy
from static_mesh import envoy_for, free_port, snapshot_of

from marline.compile.gateway_api_status import statuses
from marline.mesh.model import Capture, GatewayPort, Proxy, Role, Workload
from marline.mesh.snapshot import MeshSnapshot

GROUP = "gateway.networking.k8s.io"
LABELS = (("istio", "ingressgateway"),)


def service(
    name: str, port: int, namespace: str = "default", *, protocol: str = "http", number: int = 80
) -> str:
    """A Service with one endpoint on this machine, without a sidecar."""
    selector = {"app": name}
    head = {"metadata": {"name": name, "namespace": namespace}}
    ports = [{"name": protocol, "port": number}]
    entry = {"address": "127.0.0.1", "ports": {protocol: port}, "labels": selector}
    return "---\n" + yaml.safe_dump_all(
        [
            {"apiVersion": "v1", "kind": "Service", **head, "spec": {"selector": selector, "ports": ports}},
            {"apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry", **head, "spec": entry},
        ]
    )


def gateway(listeners: str, name: str = "edge", namespace: str = "default", **spec: Any) -> str:
    """A Gateway with the given listeners (YAML)."""
    body = {"gatewayClassName": "marline", "listeners": yaml.safe_load(listeners), **spec}
    return document("Gateway", name, body, namespace)


def route(kind: str, name: str, spec: str, namespace: str = "default") -> str:
    """A route of a Gateway `edge` unless it says otherwise."""
    return document(kind, name, {"parentRefs": [{"name": "edge"}], **yaml.safe_load(spec)}, namespace)


def document(kind: str, name: str, spec: Any, namespace: str = "default", group: str = GROUP) -> str:
    metadata = {"name": name, "namespace": namespace}
    obj = {"apiVersion": f"{group}/v1".lstrip("/"), "kind": kind, "metadata": metadata, "spec": spec}
    return "---\n" + yaml.safe_dump(obj)


def secret(name: str, certificate: bytes, key: bytes, namespace: str = "default") -> str:
    data = {
        "tls.crt": base64.b64encode(certificate).decode(),
        "tls.key": base64.b64encode(key).decode(),
    }
    metadata = {"name": name, "namespace": namespace}
    obj = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "kubernetes.io/tls",
        "data": data,
    }
    return "---\n" + yaml.safe_dump(obj)


def config_map(name: str, authority: bytes, namespace: str = "default") -> str:
    """With CA certificates."""
    metadata = {"name": name, "namespace": namespace}
    data = {"ca.crt": authority.decode()}
    return "---\n" + yaml.safe_dump(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    )


@dataclass
class Edge:
    """The gateway's Envoy and its ports."""

    snapshot: MeshSnapshot
    proxy: Proxy
    envoy: RunningEnvoy
    session: aiohttp.ClientSession

    def listen(self, number: int) -> int:
        return next(item.listen for item in self.proxy.gateway_ports if item.number == number)

    async def send(
        self, number: int, host: str, path: str = "/", method: str = "GET", **headers: str
    ) -> Reply:
        client = RoutedClient(self.session, self.listen(number))
        return await client.send(path, method, Host=host, **headers)

    async def send_tls(
        self, number: int, name: str, context: ssl.SSLContext, host: str = "", path: str = "/"
    ) -> Reply:
        """A request over TLS to a server of this name."""
        connector = aiohttp.TCPConnector(ssl=context, resolver=_Here(), force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            client = RoutedClient(session, 0)
            client.base = f"https://{name}:{self.listen(number)}"
            return await client.send(path, Host=host or name)

    def conditions(self, kind: str, name: str) -> dict[str, tuple[str, str]]:
        """What the resource is told: status and reason of each condition, of a route's only parent."""
        found = {(ref.kind, ref.name): status for ref, status in self.told()}
        status = found[kind, name]
        listed = status["conditions"] if "conditions" in status else status["parents"][0]["conditions"]
        return {item["type"]: (item["status"], item["reason"]) for item in listed}

    def told(self) -> Iterable[tuple[Any, dict[str, Any]]]:
        return statuses(self.snapshot, "2026-01-01T00:00:00Z", (self.proxy,))


class _Here(AbstractResolver):
    """Every name is this machine's."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        found = ResolveResult(hostname=host, host="127.0.0.1", port=port, family=2, proto=0, flags=0)
        return [found]

    async def close(self) -> None:
        pass


def trusting(*authorities: bytes, identity: tuple[str, str] | None = None) -> ssl.SSLContext:
    """What a client expects of servers, and the files of what it shows them."""
    context = ssl.create_default_context(cadata="".join(item.decode() for item in authorities))
    if identity is not None:
        context.load_cert_chain(*identity)
    return context


@asynccontextmanager
async def edge(text: str, *numbers: int) -> AsyncIterator[Edge]:
    """The Envoy of all Gateways in the resources, listening for the given ports wherever there is room."""
    snapshot = snapshot_of(text)
    ports = tuple(GatewayPort(number, free_port()) for number in numbers)
    workload = Workload("istio-system", "ingress", "ingress", labels=LABELS)
    proxy = Proxy("gateway", Role.GATEWAY, Capture.EXPLICIT, (workload,), "127.0.0.1", ports)
    async with AsyncExitStack() as stack:
        envoy = await stack.enter_async_context(envoy_for(snapshot, proxy))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Edge(snapshot, proxy, envoy, session)
