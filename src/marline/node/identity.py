"""Identities on this machine: keys made here, certificates from the control plane, served to those whose they
are, over SDS to each workload's Envoy and over the Workload API to its processes."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from marline.api.errors import InvalidResource
from marline.identity import endpoint
from marline.identity.agent import FederatedRoots, SvidSource, serve_svid
from marline.identity.errors import SignFailed
from marline.identity.peers import only_process
from marline.identity.selectors import parse_selector
from marline.identity.spiffe import parse
from marline.identity.svid import SignedSvid
from marline.identity.trust_endpoint import (
    BUNDLES_PATH,
    JWT_PATH,
    TrustBundles,
    bundles_of,
    token_of,
    token_request,
)
from marline.identity.workload_server import Owns, Registered, WorkloadServer
from marline.node.followed import FollowedSources
from marline.node.home import Home, MeshConfig
from marline.store.interface import StoreError
from marline.store.remote.client import RemoteStore

BUNDLE_SECONDS: Final = 10.0
"""How often the control plane is asked for its bundles. Keys are announced in them long before they sign."""

_log = logging.getLogger(__name__)


class NodeIdentities:
    """What this process serves; made by `serve_identities`."""

    def __init__(self, store: RemoteStore, socket: Path) -> None:
        self._store = store
        self.workload_api = WorkloadServer(socket, self._mint)
        self._federated = FederatedRoots()
        self.followed = FollowedSources(store)

    @property
    def endpoint(self) -> str:
        """Where processes find the Workload API (`SPIFFE_ENDPOINT_SOCKET`)."""
        return self.workload_api.endpoint

    @asynccontextmanager
    async def proxied(
        self, node_id: str, spiffe_id: str, socket: Path, envoy_pid: Callable[[], int], owns: Owns
    ) -> AsyncIterator[None]:
        """Serve the SVID of this identity at a socket to the Envoy of this node id and pid, and by the
        Workload API to the processes that `owns` knows. Raises `InvalidSpiffeId`, `SocketUnusable`."""
        serving = serve_svid(
            spiffe_id, socket, only_process(envoy_pid), self._sign, self.followed.changed.set,
            federated=self._federated, renewed=self.workload_api.changed,
        )  # fmt: skip
        async with serving as source:
            with (
                self.workload_api.register(Registered(source, owns)),
                self.followed.including(node_id, source),
            ):
                yield

    @asynccontextmanager
    async def registered(self, spiffe_id: str, selectors: Collection[str]) -> AsyncIterator[SvidSource]:
        """Serve this identity by the Workload API to the processes that all selectors are true of.

        Raises `InvalidSpiffeId`, `InvalidSelector`.
        """
        parsed = frozenset(parse_selector(item) for item in selectors)
        changed = self.workload_api.changed
        async with SvidSource(parse(spiffe_id), self._sign, lambda _: changed()) as source:
            with (
                self.workload_api.register(Registered(source, selectors=parsed)),
                self.followed.including(f"{spiffe_id} {' '.join(sorted(selectors))}", source),
            ):
                yield source

    async def follow_bundles(self) -> None:
        """Keep the trust bundles current, for ever. While the control plane is away the last ones stay."""
        failing = False
        while True:
            try:
                bundles = bundles_of(await self._ask("GET", BUNDLES_PATH))
            except SignFailed as error:
                if not failing:
                    _log.warning("the trust bundles cannot be had: %s; trying again", error)
                failing = True
            else:
                failing = False
                self._take(bundles)
            await asyncio.sleep(BUNDLE_SECONDS)

    def _take(self, bundles: TrustBundles) -> None:
        if bundles == self.workload_api.bundles:
            return
        self.workload_api.bundles = bundles
        self.workload_api.changed()
        self._federated.replace(
            {name: item.roots_pem for name, item in bundles.federated.items() if item.roots_pem}
        )

    async def _sign(self, csr_pem: str, spiffe_id: str) -> SignedSvid:
        request = endpoint.request_of(csr_pem, spiffe_id)
        return endpoint.answer_of(await self._ask("POST", endpoint.PATH, request))

    async def _mint(self, spiffe_id: str, audience: tuple[str, ...]) -> str:
        return token_of(await self._ask("POST", JWT_PATH, token_request(spiffe_id, audience)))

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """Raises `SignFailed`."""
        try:
            return (await self._store.request(method, path, body=body)).json()
        except (StoreError, InvalidResource) as error:
            raise SignFailed(str(error)) from error


@asynccontextmanager
async def serve_identities(
    home: Home, config: MeshConfig, store: RemoteStore, *, owner: bool
) -> AsyncIterator[NodeIdentities]:
    """The identities of one process that runs workloads. `owner`: it is the node agent.

    Raises `SocketUnusable`, OSError.
    """
    directory = home.endpoint_directory(config)
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    known = home.workload_api
    identities = NodeIdentities(store, directory / (known.name if owner else f"spiffe-{os.getpid()}.sock"))
    try:
        async with identities.workload_api:
            if owner and directory != home.run:
                known.unlink(missing_ok=True)
                known.symlink_to(identities.workload_api.path)
            following = (
                asyncio.create_task(identities.follow_bundles(), name="trust bundles"),
                asyncio.create_task(identities.followed.run(), name="authority"),
            )
            try:
                yield identities
            finally:
                for task in following:
                    task.cancel()
                await asyncio.gather(*following, return_exceptions=True)
    finally:
        home.remove_endpoint(config)
