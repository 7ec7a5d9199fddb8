"""Which way traffic is captured on this machine, and what transparent capture needs while a mesh runs."""

import asyncio
import os
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from marline.mesh.model import Capture, ChangeSet, MeshSettings
from marline.mesh.names import NameTable, name_table
from marline.mesh.snapshot import MeshSnapshot, advance, empty
from marline.node.dns import DnsServer, Resolver
from marline.node.errors import CaptureUnavailable, Obstacle
from marline.node.home import MeshConfig
from marline.node.plan import Place
from marline.node.ports import Reservations, beginning_with
from marline.store.interface import ResourceStore, StoreError

NAMED: Final = (
    ("", "Service"),
    ("networking.istio.io", "ServiceEntry"),
    ("networking.istio.io", "WorkloadEntry"),
    ("discovery.k8s.io", "EndpointSlice"),
)
"""The kinds of which names and addresses are made."""
_PAUSE_SECONDS: Final = 1.0


def choose_capture(wanted: str) -> tuple[str, tuple[str, ...]]:
    """`auto`, `transparent` or `explicit` → one of the latter two, and a note if it is second best.

    Raises `CaptureUnavailable` if transparent capture is asked for and cannot be.
    """
    if wanted == Capture.EXPLICIT.value:
        return wanted, ()
    obstacle = find_obstacle()
    if obstacle is None:
        return Capture.TRANSPARENT.value, ()
    if wanted == Capture.TRANSPARENT.value:
        raise CaptureUnavailable(f"{obstacle.message}; {obstacle.remedy}")
    note = f"traffic is captured explicitly (loopback listeners), not transparently: {obstacle.message}"
    return Capture.EXPLICIT.value, (note,)


def find_obstacle() -> Obstacle | None:
    """What keeps this process from capturing traffic transparently; tried, not guessed."""
    if os.geteuid() != 0:
        return Obstacle("it needs root", "explicit capture needs nothing")
    from marline.node.network import trial  # netlink takes a while to import

    return trial()


async def remove_leftovers(mesh_id: str) -> None:
    """Remove kernel objects that a killed agent has left behind."""
    if os.geteuid() == 0:
        from marline.node.network import remove_bridge  # netlink takes a while to import

        await asyncio.to_thread(remove_bridge, mesh_id)


@dataclass(slots=True)
class Names:
    """The mesh's names, followed."""

    store: ResourceStore
    settings: MeshSettings
    table: NameTable = field(init=False)
    _snapshot: MeshSnapshot = field(init=False)

    def __post_init__(self) -> None:
        self._snapshot = empty(self.settings)
        self.table = name_table(self._snapshot)

    async def follow(self) -> None:
        """For ever."""
        while True:
            try:
                first = True
                async for change in self.store.watch(NAMED):
                    self._take(change, whole=first)
                    first = False
            except StoreError:
                await asyncio.sleep(_PAUSE_SECONDS)

    def _take(self, change: ChangeSet, *, whole: bool) -> None:
        before = empty(self.settings) if whole else self._snapshot
        self._snapshot, _ = advance(before, change)
        self.table = name_table(self._snapshot)


class TransparentNetwork:
    """A mesh's network on this machine: gives out namespaces on its bridge."""

    def __init__(self, config: MeshConfig, names: Names) -> None:
        from marline.node.network import Bridge  # netlink takes a while to import

        self._config, self._names = config, names
        self._bridge: Bridge | None = None
        self._reservations = Reservations()

    async def start(self, *, owner: bool) -> None:
        """`owner`: make the bridge if need be, rather than only use the one that is there. Raises
        `CaptureUnavailable`."""
        from marline.node import network

        mesh_id = self._config.mesh_id
        if owner:
            self._bridge = await asyncio.to_thread(network.adopt_bridge, mesh_id, self._reservations)
            if self._bridge is None:
                await asyncio.to_thread(network.remove_bridge, mesh_id)
                self._bridge = await asyncio.to_thread(network.make_bridge, mesh_id, self._reservations)
        else:
            self._bridge = await asyncio.to_thread(network.find_bridge, mesh_id)
            if self._bridge is None:
                raise CaptureUnavailable("the mesh's bridge is gone; restart the mesh")

    async def stop(self, *, owner: bool) -> None:
        from marline.node import network

        if owner:
            await asyncio.to_thread(network.remove_bridge, self._config.mesh_id)
        self._reservations.release()

    @asynccontextmanager
    async def place(
        self, namespace: str, short_id: str, resolv_conf: Path, datagrams: Collection[int] = ()
    ) -> AsyncIterator[Place]:
        """See `machine.Network`."""
        from marline.node import network

        if self._bridge is None:
            raise CaptureUnavailable("the mesh's network is not up")
        reservations = Reservations()
        address = reservations.first(f"address/{self._config.mesh_id}", self._bridge.addresses())
        veth = network.veth_name(self._config.mesh_id, short_id)
        descriptor = -1
        try:
            descriptor = await asyncio.to_thread(
                network.make_namespace, self._bridge, address, veth, datagrams
            )
            netns = f"/proc/{os.getpid()}/fd/{descriptor}"
            write_resolv_conf(resolv_conf, namespace, self._config.cluster_domain)
            app = Resolver(namespace, lambda: self._names.table)
            servers = [
                DnsServer(app, netns, network.DNS_PORT),
                DnsServer(Resolver(namespace, None), netns, network.PROXY_DNS_PORT),
            ]
            try:
                for server in servers:
                    await server.start()
                yield Place(Capture.TRANSPARENT, address, netns, str(resolv_conf))
            finally:
                for server in servers:
                    await server.stop()
        finally:
            if descriptor >= 0:
                os.close(descriptor)
                await asyncio.to_thread(network.remove_link, veth)
            reservations.release()

    @asynccontextmanager
    async def address(self, owner: str) -> AsyncIterator[str]:
        """See `machine.Network`."""
        from marline.node import network

        bridge = self._bridge
        if bridge is None:
            raise CaptureUnavailable("the mesh's network is not up")
        reservations = Reservations()
        wanted = beginning_with(owner, list(bridge.addresses()))
        address = reservations.first(f"address/{self._config.mesh_id}", wanted)
        try:
            await asyncio.to_thread(network.add_address, bridge, address)
            yield address
        finally:
            await asyncio.to_thread(network.remove_address, bridge, address)
            reservations.release()


def write_resolv_conf(path: Path, namespace: str, cluster_domain: str) -> None:
    """As in a pod, but that names with a dot are first asked for as they are. Applications of any user
    read it."""
    search = f"{namespace}.svc.{cluster_domain} svc.{cluster_domain} {cluster_domain}"
    path.write_text(f"nameserver 127.0.0.1\nsearch {search}\noptions ndots:1\n")
    path.chmod(0o644)


@asynccontextmanager
async def open_network(
    config: MeshConfig, store: ResourceStore, *, owner: bool
) -> AsyncIterator[TransparentNetwork | None]:
    """The mesh's network while this block lasts; None under explicit capture."""
    if config.capture != Capture.TRANSPARENT.value:
        yield None
        return
    settings = MeshSettings(trust_domain=config.trust_domain, cluster_domain=config.cluster_domain)
    names = Names(store, settings)
    network = TransparentNetwork(config, names)
    following = asyncio.create_task(names.follow(), name="names")
    try:
        await network.start(owner=owner)
        try:
            yield network
        finally:
            await network.stop(owner=owner)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
