"""A control plane made of its parts: store, hub, control loops, servers."""

import asyncio
import gc
import logging
import signal
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientSession

from marline.control_plane.endpoints import endpoints
from marline.control_plane.policy_watch import PolicyWatch
from marline.control_plane.request_log import RequestLog
from marline.control_plane.wasm_modules import WasmModules
from marline.controllers.authority import AuthorityLoop
from marline.controllers.certificate_warnings import CertificateWarnings
from marline.controllers.gateway_class import provide_gateway_class
from marline.controllers.gateway_statuses import GatewayStatuses
from marline.controllers.key_sets import KeySets
from marline.controllers.policy_statuses import PolicyStatuses
from marline.controllers.rate_limit_demand import RateLimitDemand
from marline.controllers.reaping import Reaping
from marline.controllers.rejection_statuses import RejectionStatuses
from marline.identity import endpoint
from marline.identity.bundle_server import serve_bundle
from marline.identity.ca import Authority
from marline.identity.ca_home import open_home
from marline.identity.ca_plugin import load_plugin
from marline.identity.federation import Federation
from marline.identity.federation_config import check_federation
from marline.identity.jwks import fetch_keys, key_client
from marline.identity.jwt_keys import JwtKeys
from marline.identity.trust_endpoint import TrustEndpoint
from marline.mesh.model import ChangeSet, MeshSettings, PatchId, Proxy
from marline.mesh.token_keys import FetchedKeys
from marline.node.home import Home, MeshConfig
from marline.node.notify import RATE_LIMITS_WANTED, READY, notify
from marline.store.audit.log import AuditSettings
from marline.store.embedded.credentials import ApiCredentials, User, write_kubeconfig
from marline.store.embedded.join_tokens import JoinTokens
from marline.store.embedded.server import serve
from marline.store.embedded.store import EmbeddedStore
from marline.store.interface import ResourceStore
from marline.store.tokens import ADMINS, JOIN
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
    modules: WasmModules
    policies: PolicyStatuses
    counting: RateLimitDemand
    keys: KeySets
    _applying: asyncio.Lock = field(default_factory=asyncio.Lock)
    """The hub takes one change at a time, and key sets come when they come."""

    @classmethod
    def of(
        cls, store: ResourceStore, settings: MeshSettings, home: Home, client: ClientSession
    ) -> "ControlPlane":
        """`client`: fetches key sets."""
        rejections = RejectionStatuses(store, _now)
        events = _Events(rejections)
        hub = Hub(settings, events)
        gateways = GatewayStatuses(store, hub, rejections.rejections, _now)
        rejections.gateways_at_fault = gateways.at_fault
        events.gateways, events.reaping = gateways, Reaping(store, hub)
        kept = WasmModules(home.modules)
        rejections.module_fault = kept.fault
        policies, counting = PolicyStatuses(store, hub, _now), RateLimitDemand(_ask_for_rate_limits)
        keys = KeySets(home.key_sets, partial(fetch_keys, client), told=rejections.keys_changed)
        rejections.key_condition = keys.condition
        plane = cls(store, hub, rejections, events.gateways, events.reaping, kept, policies, counting, keys)
        keys.deliver = plane.deliver
        return plane

    async def follow(self, followed: asyncio.Event) -> None:
        """Bring proxies to every change of the store, for ever. `followed` is set after the first."""
        async for change in self.store.watch():
            await self.modules.provide(change)
            async with self._applying:
                impact = await self.hub.apply(await self.keys.provide(change))
            self.gateways.changed(impact)
            self.rejections.changed(change)
            self.reaping.changed(change)
            self.policies.changed(impact)
            self.counting.changed(change)
            if not followed.is_set():
                # What the first state is made of stays: the garbage collector need not look at it again.
                gc.collect()
                gc.freeze()
                followed.set()
            await asyncio.sleep(_COALESCE_SECONDS)

    async def deliver(self, keys: FetchedKeys) -> None:
        """Bring proxies to another key set; the mesh is the same otherwise."""
        async with self._applying:
            version = self.hub.snapshot.resource_version
            await self.hub.apply(ChangeSet(resource_version=version, keys=(keys,)))

    def loops(self) -> tuple[Coroutine[Any, Any, None], ...]:
        return (
            self.rejections.run(),
            self.gateways.run(),
            self.reaping.run(),
            self.policies.run(),
            self.keys.run(),
            self._retry(),
        )

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
        self.rejections.connected(proxy)
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

    def patched(self, proxy: Proxy, patches: frozenset[PatchId]) -> None:
        self.rejections.patched(proxy, patches)

    def settled(self, proxy: Proxy, settled: Settled) -> None:
        self.rejections.settled(proxy, settled)


def _ask_for_rate_limits() -> None:
    try:
        notify(RATE_LIMITS_WANTED)
    except OSError as error:
        _log.error("the node agent cannot be asked for the rate-limit service: %s", error)


def _now() -> datetime:
    return datetime.now(UTC)


def _authority(home: Home, config: MeshConfig) -> AuthorityLoop:
    """Raises `IdentityError`."""

    def reopen(now: float) -> Authority:
        if config.plugin_ca:
            return load_plugin(Path(config.plugin_ca), config.trust_domain, now)
        return open_home(home.ca, config.trust_domain, now)

    signing = endpoint.SignEndpoint(
        reopen(time.time()), config.trust_domain, float(config.svid_ttl_seconds), reopen
    )
    return AuthorityLoop(signing, None if config.plugin_ca else home.ca, config.plugin_ca or "own", time.time)


async def run(home: Home, config: MeshConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises `IdentityError`, `StoreError`, OSError."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    check_federation(config.trust_domain, config.federates_with, config.bundle_endpoint)
    federation = Federation(config.federates_with, home.federation)
    federation.load()
    authority = _authority(home, config)
    trust = TrustEndpoint(authority.signing, JwtKeys(home.jwt_keys), federated=lambda: federation.bundles)
    trust.own(time.time())  # whatever cannot be kept is found out now
    async with AsyncExitStack() as stack:
        audit = AuditSettings(home.audit, config.audit_file_bytes, config.audit_files)
        store = await EmbeddedStore.open(home.database, audit=audit)
        stack.push_async_callback(store.close)
        requests = await RequestLog.open(home, config, store.state)
        await provide_gateway_class(store)
        settings = MeshSettings(
            trust_domain=config.trust_domain,
            cluster_domain=config.cluster_domain,
            federated_trust_domains=tuple(item.trust_domain for item in config.federates_with),
        )
        client = await stack.enter_async_context(key_client())
        plane = ControlPlane.of(store, settings, home, client)
        authority.connected = lambda: (proxy.node_id for proxy in plane.hub.proxies())
        authority.absent = plane.reaping.absent
        warnings = CertificateWarnings(store, authority.status, _now)
        credentials = ApiCredentials.open(home.api)
        extra = endpoints(
            plane.hub, authority, trust, credentials, store, JoinTokens(home.api / "join-tokens.json")
        )
        server = await serve(
            store, port=config.api_port, credentials=credentials, extra=extra, open_paths=(JOIN,)
        )
        stack.push_async_callback(server.close)
        url = f"https://127.0.0.1:{server.port}"
        admin = credentials.issue(User("marline-admin", (ADMINS,)))
        write_kubeconfig(home.kubeconfig, url, credentials.authority, admin)
        if config.bundle_endpoint is not None:
            shown = serve_bundle(config.bundle_endpoint, trust.own, lambda: trust.certificates.authority)
            await stack.enter_async_context(shown)
        followed = asyncio.Event()
        loops = (
            plane.follow(followed), authority.run(), warnings.run(), federation.run(), requests.run(),
            PolicyWatch(home, plane.hub).run(followed), *plane.loops(),
        )  # fmt: skip
        background = [asyncio.create_task(loop) for loop in loops]
        stack.callback(lambda: [task.cancel() for task in background])
        await _first(followed.wait(), *background)
        await stack.enter_async_context(serve_ads(plane.hub, home.xds_socket))
        notify(READY)
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
