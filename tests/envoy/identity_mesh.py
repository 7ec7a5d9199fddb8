"""Two real Envoys whose identities come from the SDS server, and what is needed around them."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from google.protobuf import json_format
from harness import Envoy, run_envoy

from marline.compile.tls import mesh_server_socket, mutual_tls_socket
from marline.identity.agent import FederatedRoots, Sign, SvidSource, serve_svid
from marline.identity.ca import Authority
from marline.identity.ca_home import open_home
from marline.identity.peers import only_process
from marline.identity.spiffe import parse
from marline.identity.svid import SignedSvid
from marline.mesh.mesh_tls import MeshPeers
from marline.node.bootstrap import SDS_CLUSTER

CLIENT_ID = "spiffe://cluster.local/ns/default/sa/productpage"
SERVER_ID = "spiffe://cluster.local/ns/default/sa/reviews"
_TYPE = "type.googleapis.com/envoy.extensions"


def signer(authority: Authority, clock: Callable[[], float], ttl: float = 3600.0) -> Sign:
    """Signs at once, in this process."""

    async def sign(csr_pem: str, spiffe_id: str) -> SignedSvid:
        return authority.sign(csr_pem, parse(spiffe_id), ttl, clock())

    return sign


def new_authority(directory: Path, now: float) -> Authority:
    return open_home(directory, "cluster.local", now)


@dataclass
class Proxied:
    """An Envoy and the source of its identity."""

    envoy: Envoy
    source: SvidSource


@asynccontextmanager
async def proxied(
    directory: Path,
    static_resources: dict[str, Any],
    spiffe_id: str,
    sign: Sign,
    federated: FederatedRoots | None = None,
) -> AsyncIterator[Proxied]:
    """An Envoy in this directory, which takes its secrets from `sds.sock` there."""
    directory.mkdir()  # noqa: ASYNC240
    static = {**static_resources, "clusters": [*static_resources.get("clusters", []), _sds_cluster()]}
    running: list[Envoy] = []
    allowed = only_process(lambda: running[0].pid if running else 0)
    async with AsyncExitStack() as stack:
        serving = serve_svid(spiffe_id, directory / "sds.sock", allowed, sign, federated=federated)
        source = await stack.enter_async_context(serving)
        config = {"static_resources": static}
        envoy = await stack.enter_async_context(run_envoy(config, directory=directory, wait=False))
        running.append(envoy)
        await envoy.wait_live(30)
        yield Proxied(envoy, source)


def _sds_cluster() -> dict[str, Any]:
    return {
        **cluster(SDS_CLUSTER, {"pipe": {"path": "sds.sock"}}),
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPE}.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
    }


def cluster(name: str, address: dict[str, Any], tls: Any = None) -> dict[str, Any]:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    made: dict[str, Any] = {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
    }
    if tls is not None:
        made["transport_socket"] = json_format.MessageToDict(tls)
    return made


def loopback(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def http_listener(name: str, upstream: str, tls: Any = None) -> dict[str, Any]:
    """Everything goes to one cluster; who called is told in `x-forwarded-client-cert`."""
    manager = {
        "@type": f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "forward_client_cert_details": "APPEND_FORWARD",
        "set_current_client_cert_details": {"uri": True},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPE}.filters.http.router.v3.Router"},
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": upstream}}],
                }
            ]
        },
    }
    chain: dict[str, Any] = {"filters": [{"name": "hcm", "typed_config": manager}]}
    if tls is not None:
        chain["transport_socket"] = json_format.MessageToDict(tls)
    return {"name": name, "address": loopback(0), "filter_chains": [chain]}


def server_resources(app_port: int, peers: MeshPeers | None = None) -> dict[str, Any]:
    return {
        "listeners": [http_listener("inbound", "app", mesh_server_socket(peers or MeshPeers()))],
        "clusters": [cluster("app", loopback(app_port))],
    }


def client_resources(server_port: int, expected: Sequence[str] = (SERVER_ID,)) -> dict[str, Any]:
    """Listener `outbound` keeps its connections to the server, `fresh` makes a new one for each request."""
    tls = mutual_tls_socket("outbound_.9080_._.reviews", tuple(expected), MeshPeers())
    fresh = cluster("fresh", loopback(server_port), tls)
    fresh["max_requests_per_connection"] = 1
    return {
        "listeners": [http_listener("outbound", "reviews"), http_listener("fresh", "fresh")],
        "clusters": [cluster("reviews", loopback(server_port), tls), fresh],
    }


@asynccontextmanager
async def application() -> AsyncIterator[int]:
    """An HTTP server that answers with the `x-forwarded-client-cert` that it is given; its port."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.headers.get("x-forwarded-client-cert", ""))

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
