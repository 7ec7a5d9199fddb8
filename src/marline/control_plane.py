"""The running control plane: the rooms wired together, and no logic of its own.

`python -m marline.control_plane --home PATH` is started by the node agent, which restarts it if it ends.
"""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from marline.controllers.gateway_statuses import GatewayStatuses
from marline.controllers.reaping import Reaping
from marline.controllers.rejection_statuses import RejectionStatuses
from marline.identity import endpoint
from marline.identity.ca import Authority
from marline.identity.ca_home import open_home
from marline.identity.ca_plugin import load_plugin
from marline.identity.errors import IdentityError
from marline.mesh.model import MeshSettings, Proxy
from marline.node.errors import NodeError, StartFailed
from marline.node.home import Home, MeshConfig, find_home, load_config
from marline.node.notify import notify_ready
from marline.store.embedded.credentials import ADMINS, ApiCredentials, User, write_kubeconfig
from marline.store.embedded.http.bodies import read_object
from marline.store.embedded.server import USER, Extra, serve
from marline.store.embedded.store import EmbeddedStore
from marline.store.interface import BadRequest, Forbidden, ResourceStore, StoreError
from marline.store.status import failure
from marline.xds import status
from marline.xds.hub import Hub
from marline.xds.messages import Refused, Settled
from marline.xds.server import serve_ads

_RETRY_SECONDS: Final = 30.0
"""What a proxy refuses may be for want of something that has come meanwhile, such as a free port."""
_COALESCE_SECONDS: Final = 0.01
"""What changes within this time of a change is sent together."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class ControlPlane:
    """The hub, and the loops that write back what it learns."""

    store: ResourceStore
    hub: Hub
    rejections: RejectionStatuses
    gateways: GatewayStatuses
    reaping: Reaping

    @classmethod
    def of(cls, store: ResourceStore, settings: MeshSettings) -> "ControlPlane":
        rejections = RejectionStatuses(store, _now)
        events = _Events(rejections)
        hub = Hub(settings, events)
        gateways = GatewayStatuses(store, hub, rejections.rejections, _now)
        rejections.gateways_at_fault = gateways.at_fault
        events.gateways, events.reaping = gateways, Reaping(store, hub)
        return cls(store, hub, rejections, events.gateways, events.reaping)

    async def follow(self, followed: asyncio.Event) -> None:
        """Bring proxies to every change of the store, for ever. `followed` is set after the first."""
        async for change in self.store.watch():
            impact = await self.hub.apply(change)
            self.gateways.changed(impact)
            self.reaping.changed(change)
            followed.set()
            await asyncio.sleep(_COALESCE_SECONDS)

    def loops(self) -> tuple[Coroutine[Any, Any, None], ...]:
        return self.rejections.run(), self.gateways.run(), self.reaping.run(), self._retry()

    async def _retry(self) -> None:
        while True:
            await asyncio.sleep(_RETRY_SECONDS)
            self.hub.try_again()


@dataclass(slots=True)
class _Events:
    """The hub's observer: each loop hears of what concerns it."""

    rejections: RejectionStatuses
    gateways: GatewayStatuses | None = None
    reaping: Reaping | None = None

    def connected(self, proxy: Proxy) -> None:
        _log.info("%s is connected", proxy.node_id)
        self._came_or_went(proxy)

    def disconnected(self, proxy: Proxy) -> None:
        _log.info("%s is disconnected", proxy.node_id)
        self.rejections.disconnected(proxy)
        self._came_or_went(proxy)

    def _came_or_went(self, proxy: Proxy) -> None:
        for loop in (self.gateways, self.reaping):
            if loop is not None:
                loop.came_or_went(proxy)

    def refused(self, proxy: Proxy, refused: Refused) -> None:
        _log.warning("%s rejects %s: %s", proxy.node_id, refused.name, refused.message)
        self.rejections.refused(proxy, refused)

    def settled(self, proxy: Proxy, settled: Settled) -> None:
        self.rejections.settled(proxy, settled)


def _now() -> datetime:
    return datetime.now(UTC)


def _sign_endpoint(home: Home, config: MeshConfig) -> endpoint.SignEndpoint:
    """Raises `IdentityError`."""

    def reopen(now: float) -> Authority:
        if config.plugin_ca:
            return load_plugin(Path(config.plugin_ca), config.trust_domain, now)
        return open_home(home.ca, config.trust_domain, now)

    return endpoint.SignEndpoint(
        reopen(time.time()), config.trust_domain, float(config.svid_ttl_seconds), reopen
    )


def _endpoints(hub: Hub, signing: endpoint.SignEndpoint) -> tuple[Extra, ...]:
    """What the API server answers besides Kubernetes' paths."""

    async def sign(request: web.Request) -> web.Response:
        try:
            answer = signing.handle(await read_object(request), request[USER].groups, time.time())
        except endpoint.SignRefused as error:
            return web.json_response(failure(error.code, error.reason, str(error)), status=error.code)
        return web.json_response(answer)

    async def proxies(request: web.Request) -> web.Response:
        if endpoint.ALLOWED_GROUPS.isdisjoint(request[USER].groups):
            raise Forbidden(f'User "{request[USER].name}" cannot list proxies')
        await _settled(hub, request.query)
        return web.Response(body=msgspec.json.encode(hub.statuses()), content_type="application/json")

    return ("POST", endpoint.PATH, sign), ("GET", status.PATH, proxies)


async def _settled(hub: Hub, query: Mapping[str, str]) -> None:
    """Wait as the query asks for. Raises `BadRequest`."""
    try:
        version = int(query.get(status.SETTLED_AT, "0"))
        connected = int(query.get(status.CONNECTED, "0"))
        seconds = float(query.get(status.TIMEOUT_SECONDS, "10"))
    except ValueError as error:
        names = f"{status.SETTLED_AT}, {status.CONNECTED} and {status.TIMEOUT_SECONDS}"
        raise BadRequest(f"{names} are numbers") from error
    if version:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, status.MAX_TIMEOUT_SECONDS)):
                await hub.settled(version, connected)


async def run(home: Home, config: MeshConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises `IdentityError`, `StoreError`, OSError."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    signing = _sign_endpoint(home, config)
    async with AsyncExitStack() as stack:
        store = await EmbeddedStore.open(home.database)
        stack.push_async_callback(store.close)
        settings = MeshSettings(trust_domain=config.trust_domain, cluster_domain=config.cluster_domain)
        plane = ControlPlane.of(store, settings)
        credentials = ApiCredentials.open(home.api)
        server = await serve(
            store, port=config.api_port, credentials=credentials, extra=_endpoints(plane.hub, signing)
        )
        stack.push_async_callback(server.close)
        url = f"https://127.0.0.1:{server.port}"
        admin = credentials.issue(User("marline-admin", (ADMINS,)))
        write_kubeconfig(home.kubeconfig, url, credentials.authority, admin)
        followed = asyncio.Event()
        background = [asyncio.create_task(loop) for loop in (plane.follow(followed), *plane.loops())]
        stack.callback(lambda: [task.cancel() for task in background])
        await _first(followed.wait(), *background)
        await stack.enter_async_context(serve_ads(plane.hub, home.xds_socket))
        notify_ready()
        _log.info("ready at %s", url)
        await _first(stopping.wait(), *background)


async def _first(wanted: Coroutine[Any, Any, Any], *background: asyncio.Task[None]) -> None:
    """Wait for this; a background task that ends meanwhile has failed, and its error is raised."""
    task = asyncio.ensure_future(wanted)
    try:
        done, _ = await asyncio.wait({task, *background}, return_when=asyncio.FIRST_COMPLETED)
        for item in done:
            item.result()
    finally:
        task.cancel()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="marline.control_plane", description=__doc__)
    parser.add_argument("--home", required=True)
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    try:
        home = find_home(options.home)
        config = load_config(home)
        if config is None:
            raise StartFailed("the control plane", f"there is no {home.config_file}")
        asyncio.run(run(home, config))
    except (NodeError, IdentityError, StoreError, OSError) as error:
        _log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
