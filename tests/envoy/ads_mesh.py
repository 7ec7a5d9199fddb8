"""A mesh served to a real Envoy over delta ADS: the hub, its gRPC server, and backends without sidecars.

The Envoy is the sidecar of `productpage` under explicit capture. It reaches `reviews` in both of the ways in
which routes are delivered: at a listener of its own (RDS) and through its HTTP proxy (VHDS).
"""

import asyncio
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from harness import Envoy, run_envoy
from identity_mesh import CLIENT_ID, new_authority, signer
from routing_envoy import Backend, backend
from static_mesh import free_port

from marline.api.decode import decode
from marline.api.resource import Ref, Resource
from marline.compile.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST
from marline.identity.agent import serve_svid
from marline.identity.ca import Authority
from marline.identity.peers import only_process
from marline.mesh.model import Capture, ChangeSet, MeshSettings, PatchId, Proxy, Role, Upstream, Workload
from marline.node.bootstrap import bootstrap
from marline.xds.hub import Connection, Hub
from marline.xds.messages import Refused, Request, Response, Settled
from marline.xds.server import serve_ads

PATIENCE = 20.0
_TYPES = (CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST)
"""What a sidecar subscribes to, sooner or later."""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: default}
spec: {clusterIP: 10.96.0.1, selector: {app: reviews}, ports: [{name: http, port: 9080}]}
"""
SUBSETS = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
"""
_ENTRY = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: reviews-%(version)s, namespace: default}
spec:
  {address: 127.0.0.1, ports: {http: %(port)d}, labels: {app: reviews, version: %(version)s}}
"""


def resource(text: str) -> Resource[Any]:
    return decode(yaml.safe_load(text))


def endpoint(version: str, port: int) -> Resource[Any]:
    """A workload without a sidecar."""
    return resource(_ENTRY % {"version": version, "port": port})


def weights(**by_subset: int) -> Resource[Any]:
    """A VirtualService that splits requests."""
    route = [
        {"destination": {"host": "reviews", "subset": subset}, "weight": weight}
        for subset, weight in by_subset.items()
    ]
    head = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService"}
    metadata = {"name": "reviews", "namespace": "default"}
    return decode({**head, "metadata": metadata, "spec": {"hosts": ["reviews"], "http": [{"route": route}]}})


@dataclass
class Heard:
    """What becomes of proxies and of what they are sent."""

    rejections: list[Refused] = field(default_factory=list)
    settlements: list[Settled] = field(default_factory=list)
    patches: frozenset[PatchId] = frozenset()

    def connected(self, proxy: Proxy) -> None:
        pass

    def disconnected(self, proxy: Proxy) -> None:
        pass

    def refused(self, proxy: Proxy, refused: Refused) -> None:
        self.rejections.append(refused)

    def patched(self, proxy: Proxy, patches: frozenset[PatchId]) -> None:
        self.patches = patches

    def settled(self, proxy: Proxy, settled: Settled) -> None:
        self.settlements.append(settled)


class RecordingHub(Hub):
    """Keeps what it has sent and heard, and may be told to lose some of it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sent: list[Response] = []
        self.asked: list[str] = []
        self.lost: set[str] = set()
        """Types whose responses do not arrive."""
        self.spoken = asyncio.Event()

    def receive(self, connection: Connection, request: Request) -> None:
        self.asked.append(request.type_url)
        super().receive(connection, request)
        self.spoken.set()

    def has_all_subscriptions(self) -> bool:
        proxies = self.statuses().proxies
        return bool(proxies) and all(len(item.types) >= len(_TYPES) for item in proxies)

    def connect(self, proxy: Proxy, deliver: Any) -> Connection:
        def record(response: Response) -> None:
            self.sent.append(response)
            if response.type_url not in self.lost:
                deliver(response)

        return super().connect(proxy, record)


@dataclass
class ControlPlane:
    """Resources and those who are told of them. A new one with the same resources is one restarted."""

    directory: Path
    resources: dict[Ref, Resource[Any]] = field(default_factory=dict)
    heard: Heard = field(default_factory=Heard)
    settings: MeshSettings = field(default_factory=MeshSettings)
    hub: RecordingHub = field(init=False)
    version: int = 1

    def __post_init__(self) -> None:
        self.hub = RecordingHub(self.settings, self.heard)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["ControlPlane"]:
        await self.hub.apply(ChangeSet(tuple(self.resources.values()), (), str(self.version)))
        async with serve_ads(self.hub, self.directory / "xds.sock"):
            yield self

    async def put(self, *changed: Resource[Any]) -> None:
        self.resources.update({item.ref: item for item in changed})
        await self._apply(ChangeSet(changed))

    async def remove(self, *removed: Ref) -> None:
        for ref in removed:
            del self.resources[ref]
        await self._apply(ChangeSet((), removed))

    async def _apply(self, change: ChangeSet) -> None:
        self.version += 1
        await self.hub.apply(ChangeSet(change.changed, change.removed, str(self.version)))

    async def settled(self) -> None:
        """Wait until the proxy has said all that it wants, and has it or refuses it."""
        async with asyncio.timeout(PATIENCE):
            while not self.hub.has_all_subscriptions():
                self.hub.spoken.clear()
                await self.hub.spoken.wait()
            await self.hub.settled(self.version)


@dataclass
class Sidecar:
    """The Envoy, and a client behind it."""

    envoy: Envoy
    session: aiohttp.ClientSession
    upstream: str
    proxy: str

    async def wait_for_stat(self, name: str, value: int) -> None:
        """Wait until a statistic is this."""
        async with asyncio.timeout(PATIENCE):
            while (await self.envoy.stats(name)).get(name) != value:  # noqa: ASYNC110 (Envoy's state)
                await asyncio.sleep(0.02)

    async def get(self, *, proxied: bool = False, headers: dict[str, str] | None = None) -> tuple[int, str]:
        """The status and the backend that answered."""
        url = "http://reviews:9080/" if proxied else self.upstream
        async with self.session.get(url, proxy=self.proxy if proxied else None, headers=headers) as response:
            name = (await response.json())["backend"] if response.headers.get("x-from-app") else ""
            return response.status, name

    @asynccontextmanager
    async def under_load(self, clients: int = 6) -> AsyncIterator[Counter[tuple[int, str]]]:
        """Requests all the time within this block, half of them in each way; counts their answers."""
        answers: Counter[tuple[int, str]] = Counter()
        done = asyncio.Event()

        async def ask(proxied: bool) -> None:
            while not done.is_set():
                answers[await self.get(proxied=proxied)] += 1

        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(ask(number % 2 == 0))
            try:
                yield answers
            finally:
                done.set()


def failed(answers: Counter[tuple[int, str]]) -> dict[tuple[int, str], int]:
    return {answer: count for answer, count in answers.items() if answer[0] != 200}


@asynccontextmanager
async def control_plane(
    *resources: Resource[Any], settings: MeshSettings | None = None
) -> AsyncIterator[ControlPlane]:
    """In a short directory of its own, and not serving yet."""
    directory = Path(tempfile.mkdtemp(prefix="mrl-"))
    try:
        known = {item.ref: item for item in resources}
        yield ControlPlane(directory, known, settings=settings or MeshSettings())
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def sidecar(directory: Path, **more: Any) -> AsyncIterator[Sidecar]:
    """The Envoy that finds its control plane in this directory; `more` of its bootstrap."""
    listen, http_proxy = free_port(), free_port()
    workload = Workload(
        "default",
        "productpage-1",
        "productpage",
        labels=(("app", "productpage"),),
        upstreams=(Upstream("reviews", 9080, listen),),
        http_proxy_port=http_proxy,
    )
    proxy = Proxy("sidecar~productpage", Role.SIDECAR, Capture.EXPLICIT, (workload,))
    async with ads_envoy(directory, proxy, CLIENT_ID, **more) as envoy, aiohttp.ClientSession() as session:
        yield Sidecar(envoy, session, f"http://127.0.0.1:{listen}/", f"http://127.0.0.1:{http_proxy}")


@asynccontextmanager
async def ads_envoy(
    directory: Path, proxy: Proxy, spiffe_id: str, authority: Authority | None = None, **more: Any
) -> AsyncIterator[Envoy]:
    """An Envoy that is this proxy, live, with its control plane and its files in this directory; `more` of
    its bootstrap. Without `authority`, who signs its certificate is nobody that others know."""
    own = Path(tempfile.mkdtemp(dir=directory))
    config = bootstrap(
        proxy,
        xds_socket="../xds.sock",
        sds_socket="sds.sock",
        rate_limit_socket="../limits.sock",
        admin_socket="admin.sock",
        cluster="test",
    )
    running: list[Envoy] = []
    allowed = only_process(lambda: running[0].pid if running else 0)
    signing = signer(authority or new_authority(own / "ca", time.time()), time.time)
    async with (
        serve_svid(spiffe_id, own / "sds.sock", allowed, signing),
        run_envoy({**config, **more}, directory=own, wait=False) as envoy,
    ):
        running.append(envoy)
        await envoy.wait_live(PATIENCE)
        yield envoy


@dataclass
class Mesh:
    """`reviews` in version v1, a backend for v2 that is not part of it yet, and a sidecar that calls it."""

    plane: ControlPlane
    client: Sidecar
    v1: Backend
    v2: Backend


@asynccontextmanager
async def running_mesh(**bootstrap: Any) -> AsyncIterator[Mesh]:
    async with (
        backend("v1") as v1,
        backend("v2") as v2,
        control_plane(resource(SERVICE), endpoint("v1", v1.port)) as plane,
        plane.serving(),
        sidecar(plane.directory, **bootstrap) as client,
    ):
        await plane.settled()
        yield Mesh(plane, client, v1, v2)
