"""A real Envoy whose configuration EnvoyFilters change while it runs.

It is the sidecar of `productpage` under explicit capture: it receives requests for `app` (plain text is
allowed) and sends its own to `reviews`, at a listener and through its HTTP proxy. Or it is a gateway.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from ads_mesh import PATIENCE, SERVICE, ControlPlane, ads_envoy, control_plane, endpoint
from harness import Envoy
from identity_mesh import CLIENT_ID
from routing_envoy import Backend, backend, resource
from static_mesh import free_port

from marline.api.decode import admit
from marline.api.resource import Resource
from marline.control_plane.wasm_modules import WasmModules
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

HCM = "envoy.filters.network.http_connection_manager"
ROUTER = "envoy.filters.http.router"
TYPE = "type.googleapis.com/envoy.extensions"
REVIEWS = "reviews.default.svc.cluster.local"
_MESH = (
    SERVICE,
    """
{apiVersion: v1, kind: Service, metadata: {name: productpage, namespace: default},
 spec: {clusterIP: 10.96.0.2, selector: {app: productpage}, ports: [{name: http, port: 9080}]}}
""",
    """
{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: plain, namespace: default},
 spec: {mtls: {mode: DISABLE}}}
""",
    """
{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: edge, namespace: default},
 spec: {selector: {istio: ingressgateway}, servers: [
  {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}}
""",
    """
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: site, namespace: default},
 spec: {hosts: [site.example.com], gateways: [edge],
  http: [{name: everything, route: [{destination: {host: reviews}}]}]}}
""",
)


_SETTINGS = MeshSettings(module_directory="../wasm")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def backend(self) -> str:
        return str(json.loads(self.text)["backend"]) if self.headers.get("x-from-app") else ""

    @property
    def sent(self) -> dict[str, str]:
        """The headers that the backend got."""
        return dict(json.loads(self.text)["headers"]) if self.headers.get("x-from-app") else {}


NOTHING = Answer(0, {}, "")
"""The connection was refused or closed."""


@dataclass
class Patched:
    """The Envoy and what is around it."""

    plane: ControlPlane
    envoy: Envoy
    ports: dict[str, int]
    app: Backend
    reviews: Backend

    async def apply(self, *patches: dict[str, Any], name: str = "patches", **spec: Any) -> None:
        """An EnvoyFilter with these patches takes the place of the one of this name."""
        metadata = {"name": name, "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"}
        head = {"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter", "metadata": metadata}
        await self.plane.put(admit({**head, "spec": {"configPatches": list(patches), **spec}}))
        await self.settled()

    async def plug_in(self, *plugins: Resource[Any]) -> None:
        """WasmPlugins, their modules first."""
        await WasmModules(self.plane.directory / "wasm").provide(ChangeSet(plugins))
        await self.plane.put(*plugins)
        await self.settled()

    async def settled(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.plane.hub.settled(self.plane.version)

    @property
    def matched(self) -> list[int]:
        """Which patches are in what the Envoy was given."""
        return sorted(item.index for item in self.plane.heard.patches)

    async def ask(self, where: str, path: str = "/", **headers: str) -> Answer:
        """One request, on a connection of its own: to the application (`inbound`), to `reviews` (`outbound`),
        by the HTTP proxy (`proxied`), to the gateway (`gateway`), or to another port."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        proxy = f"http://127.0.0.1:{self.ports['proxied']}" if where == "proxied" else None
        port = self.ports.get(where, 0) or int(where)
        url = "http://reviews:9080" if proxy else f"http://127.0.0.1:{port}"
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            try:
                async with session.get(url + path, proxy=proxy, headers=named) as answer:
                    received = {key.lower(): value for key, value in answer.headers.items()}
                    return Answer(answer.status, received, await answer.text())
            except aiohttp.ClientError:
                return NOTHING

    async def until(
        self, where: str, is_so: Callable[[Answer], Any], path: str = "/", **headers: str
    ) -> Answer:
        """The first answer that is so: an Envoy that has taken a listener may still warm it."""
        answer = NOTHING
        try:
            async with asyncio.timeout(PATIENCE):
                while not is_so(answer := await self.ask(where, path, **headers)):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"the last answer is {answer}") from None
        return answer


@asynccontextmanager
async def patched_sidecar(**labels: str) -> AsyncIterator[Patched]:
    ports = {name: free_port() for name in ("inbound", "outbound", "proxied")}
    async with backend("app") as app:
        workload = Workload(
            "default",
            "productpage-1",
            "productpage",
            labels=tuple(sorted({"app": "productpage", **labels}.items())),
            inbound=(InboundPort("http", ports["inbound"], "127.0.0.1", app.port, Protocol.HTTP),),
            upstreams=(Upstream("reviews", 9080, ports["outbound"]),),
            http_proxy_port=ports["proxied"],
        )
        proxy = Proxy("sidecar~productpage", Role.SIDECAR, Capture.EXPLICIT, (workload,))
        async with _running(proxy, ports, app) as made:
            yield made


@asynccontextmanager
async def patched_gateway(**labels: str) -> AsyncIterator[Patched]:
    ports = {"gateway": free_port()}
    workload = Workload(
        "default",
        "gateway-1",
        "gateway",
        labels=tuple(sorted({"istio": "ingressgateway", **labels}.items())),
    )
    proxy = Proxy(
        "gateway~edge",
        Role.GATEWAY,
        Capture.EXPLICIT,
        (workload,),
        bind_address="127.0.0.1",
        gateway_ports=(GatewayPort(80, ports["gateway"]),),
    )
    async with backend("app") as app, _running(proxy, ports, app) as made:
        yield made


@asynccontextmanager
async def _running(proxy: Proxy, ports: dict[str, int], app: Backend) -> AsyncIterator[Patched]:
    async with (
        backend("reviews") as reviews,
        control_plane(*map(resource, _MESH), endpoint("v1", reviews.port), settings=_SETTINGS) as plane,
        plane.serving(),
        ads_envoy(plane.directory, proxy, CLIENT_ID) as envoy,
    ):
        yield Patched(plane, envoy, ports, app, reviews)


def patch(apply_to: str, operation: str, value: Any = None, /, **said: Any) -> dict[str, Any]:
    """One of `configPatches`; said: what its match has, and `filterClass`."""
    body = {"operation": operation}
    if "filterClass" in said:
        body["filterClass"] = said.pop("filterClass")
    if value is not None:
        body["value"] = value
    return {"applyTo": apply_to, "match": said, "patch": body}


def manager(sub_filter: str = "", **listener: Any) -> dict[str, Any]:
    """A condition on the connection manager of listeners, or on one of its filters."""
    sub = {"subFilter": {"name": sub_filter}} if sub_filter else {}
    return {**listener, "filterChain": {"filter": {"name": HCM, **sub}}}


def lua(name: str, code: str) -> dict[str, Any]:
    """An HTTP filter that runs this at each request (`handle`)."""
    config = {
        "@type": f"{TYPE}.filters.http.lua.v3.Lua",
        "default_source_code": {"inline_string": f"function envoy_on_request(handle) {code} end"},
    }
    return {"name": name, "typed_config": config}


def marking(name: str, mark: str = "") -> dict[str, Any]:
    """An HTTP filter that leaves a mark: requests carry all marks in their order."""
    code = """
      local before = handle:headers():get("x-mark")
      handle:headers():replace("x-mark", (before and before .. "," or "") .. "%s")
    """
    return lua(name, code % (mark or name))


def marks(answer: Answer) -> str:
    return answer.sent.get("x-mark", "")


def direct_response(text: str) -> dict[str, Any]:
    """A route's answer that no backend gives."""
    return {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": text}}}


def http_listener(name: str, port: int, text: str) -> dict[str, Any]:
    """A listener that answers everything by itself."""
    hosts = [{"name": "all", "domains": ["*"], "routes": [direct_response(text)]}]
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [answering(hosts)]}],
    }


def answering(hosts: Iterable[Any]) -> dict[str, Any]:
    """A connection manager with these virtual hosts."""
    router = {"@type": f"{TYPE}.filters.http.router.v3.Router"}
    config = {
        "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "added",
        "route_config": {"virtual_hosts": list(hosts)},
        "http_filters": [{"name": ROUTER, "typed_config": router}],
    }
    return {"name": HCM, "typed_config": config}
