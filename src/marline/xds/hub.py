"""All connected proxies and the mesh that they are shown: one change in, the responses of each session out.

What several proxies need is compiled and serialised once: their recipes are equal, and a recipe is the key
under which its blob is kept for as long as any view holds it.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol
from weakref import WeakValueDictionary

from marline.compile.catalog import affected, compile_units, units
from marline.compile.resource import Blob, Recipe
from marline.compile.units import Unit
from marline.mesh.model import ChangeSet, Impact, MeshSettings, PatchId, Proxy
from marline.mesh.snapshot import MeshSnapshot, advance, empty
from marline.xds import status
from marline.xds.messages import Effect, Refused, Request, Response, Settled
from marline.xds.session import Session
from marline.xds.view import View

_PROXIES_AT_A_TIME: Final = 20
"""So many are brought up to date before the event loop may do something else, such as read their answers."""
_WORST: Final = (status.SYNCED, status.PENDING, status.REJECTED)


class Observer(Protocol):
    """Who is told what becomes of proxies and of what they are sent."""

    def connected(self, proxy: Proxy) -> None: ...

    def disconnected(self, proxy: Proxy) -> None: ...

    def refused(self, proxy: Proxy, refused: Refused) -> None: ...

    def patched(self, proxy: Proxy, patches: frozenset[PatchId]) -> None:
        """Which patches are in what it is given has changed."""

    def settled(self, proxy: Proxy, settled: Settled) -> None: ...


@dataclass(slots=True, eq=False)
class Connection:
    """One stream of one proxy."""

    proxy: Proxy
    deliver: Callable[[Response], None]
    connected_at: float
    view: View = field(default_factory=View)
    session: Session = field(init=False)
    current: int = 0
    """The change that its view is of."""
    is_open: bool = True
    patches: frozenset[PatchId] = frozenset()
    """Which of them are in what it has, as the observer knows."""

    def __post_init__(self) -> None:
        self.session = Session(self.view)


@dataclass(slots=True)
class Hub:
    """Told of changes and of what proxies say; calls from one event loop only."""

    settings: MeshSettings
    observer: Observer
    clock: Callable[[], float] = time.time
    snapshot: MeshSnapshot = field(init=False)
    connections: list[Connection] = field(default_factory=list)
    _changes: int = 0
    _pulse: asyncio.Event = field(default_factory=asyncio.Event)
    _blobs: WeakValueDictionary[Recipe, Blob] = field(default_factory=WeakValueDictionary)

    def __post_init__(self) -> None:
        self.snapshot = empty(self.settings)

    async def apply(self, change: ChangeSet) -> Impact:
        """Advance the mesh and bring every proxy to it. Not to be called again before it returns."""
        self.snapshot, impact = advance(self.snapshot, change)
        self._changes += 1
        behind = [item for item in self.connections if item.current < self._changes]
        for count, connection in enumerate(behind, 1):
            if connection.is_open:
                self._refresh(connection, affected(self.snapshot, connection.proxy, impact))
            if count % _PROXIES_AT_A_TIME == 0:
                await asyncio.sleep(0)
        self._pulse.set()
        return impact

    async def settled(self, resource_version: int, connected: int = 0) -> None:
        """Wait until so many proxies are connected, and every one has what follows from the mesh at this
        version, or refuses it."""
        while not self._is_settled(resource_version, connected):
            self._pulse.clear()
            await self._pulse.wait()

    def _is_settled(self, resource_version: int, connected: int) -> bool:
        if len({item.proxy.node_id for item in self.connections}) < connected:
            return False
        if int(self.snapshot.resource_version or 0) < resource_version:
            return False
        return all(item.current == self._changes and item.session.is_settled for item in self.connections)

    def connect(self, proxy: Proxy, deliver: Callable[[Response], None]) -> Connection:
        """A proxy has opened a stream."""
        connection = Connection(proxy, deliver, self.clock())
        self.connections.append(connection)
        self._refresh(connection, units(self.snapshot, proxy))
        self.observer.connected(proxy)
        return connection

    def disconnect(self, connection: Connection) -> None:
        """The stream has ended. An Envoy that was cut off may have opened its next one before, and only
        what it said on this one is over then."""
        connection.is_open = False
        self.connections.remove(connection)
        self._pulse.set()
        proxy = connection.proxy
        others = [item for item in self.connections if item.proxy.node_id == proxy.node_id]
        for key in connection.session.messages:
            if not any(key in item.session.messages for item in others):
                self.observer.settled(proxy, Settled(*key))
        if not others:
            self.observer.disconnected(proxy)

    def receive(self, connection: Connection, request: Request) -> None:
        """The proxy says something."""
        self._perform(connection, connection.session.receive(request))
        self._pulse.set()

    def try_again(self) -> None:
        """Send what proxies refuse once more."""
        for connection in [item for item in self.connections if item.session.messages]:
            self._perform(connection, connection.session.try_again())

    def _refresh(self, connection: Connection, touched: Iterable[Unit]) -> None:
        connection.current = self._changes
        compiled = compile_units(self.snapshot, connection.proxy, touched)
        made = {unit: tuple(map(self._blob, recipes)) for unit, recipes in compiled}
        changed = connection.view.replace(made)
        patches = connection.view.patches.union(connection.proxy.bootstrap.applied)
        if patches != connection.patches:
            connection.patches = patches
            self.observer.patched(connection.proxy, patches)
        if changed:
            self._perform(connection, connection.session.changed(changed))

    def _blob(self, recipe: Recipe) -> Blob:
        blob = self._blobs.get(recipe)
        if blob is None:
            blob = self._blobs[recipe] = recipe.make()
        return blob

    def _perform(self, connection: Connection, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Response():
                    connection.deliver(effect)
                case Refused():
                    self.observer.refused(connection.proxy, effect)
                case Settled():
                    self.observer.settled(connection.proxy, effect)

    def statuses(self, *, described: bool = False) -> status.ProxyList:
        """All proxies, by node id. An Envoy that has reconnected before its old stream was found to be
        dead is there once, with its new one."""
        newest = {connection.proxy.node_id: connection for connection in self.connections}
        proxies = tuple(_status(newest[node_id], described=described) for node_id in sorted(newest))
        return status.ProxyList(proxies, self.snapshot.resource_version)

    def proxies(self) -> Iterator[Proxy]:
        return (connection.proxy for connection in self.connections)


def _status(connection: Connection, *, described: bool) -> status.ProxyStatus:
    proxy, session = connection.proxy, connection.session
    types = session.statuses()
    return status.ProxyStatus(
        node_id=proxy.node_id,
        role=proxy.role.value,
        namespace=proxy.workloads[0].namespace,
        name=proxy.workloads[0].name,
        state=max((item.state for item in types), key=_WORST.index, default=status.PENDING),
        connected_at=connection.connected_at,
        types=types,
        rejections=tuple(
            status.Rejected(type_url, name, message)
            for (type_url, name), message in sorted(session.messages.items())
        ),
        proxy=proxy if described else None,
    )
