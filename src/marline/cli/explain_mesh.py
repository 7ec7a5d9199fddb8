"""The mesh that `explain` and `diff` ask about: the running one, or one that files describe."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from marline.api.documents import Document
from marline.api.errors import InvalidResource
from marline.api.networking.workload_entry import WorkloadEntrySpec
from marline.api.registry import KINDS
from marline.api.resource import Ref, Resource
from marline.cli.batch import Item
from marline.cli.describe import settings_of
from marline.cli.exits import Failed, Missing
from marline.cli.get import as_printed
from marline.cli.mesh import connected_proxies, open_api
from marline.explain.origin import Place
from marline.mesh.endpoints import entry_labels
from marline.mesh.model import (
    Capture,
    ChangeSet,
    MeshSettings,
    Proxy,
    Role,
    Workload,
    labels_of,
)
from marline.mesh.snapshot import MeshSnapshot, advance, empty
from marline.node.home import Home
from marline.store.embedded.store import EmbeddedStore
from marline.store.interface import NotFound, ResourceStore, StoreError
from marline.xds.status import DESCRIBED

_UNREAD: Final = frozenset({("", "Event"), ("", "ConfigMap")})
_FIELD_MANAGER: Final = "marline"
WORKLOAD_ENTRY: Final = ("networking.istio.io", "WorkloadEntry")


@dataclass(frozen=True, slots=True)
class KnownMesh:
    """A mesh at one moment, and who is connected to it."""

    snapshot: MeshSnapshot
    proxies: tuple[Proxy, ...]
    documents: Mapping[Ref, Document]
    """Where the resources of files stand."""


async def read_snapshot(store: ResourceStore, settings: MeshSettings) -> MeshSnapshot:
    """All that the API has and the mesh is made of."""
    kinds = [kind for kind in KINDS if (kind.group, kind.kind) not in _UNREAD]
    listings = await asyncio.gather(*(store.list(kind.group, kind.kind) for kind in kinds))
    found: tuple[Resource[Any], ...] = tuple(item for listing in listings for item in listing.items)
    return advance(empty(settings), ChangeSet(found, resource_version="now"))[0]


async def running_mesh(home: Home) -> KnownMesh:
    """The mesh of a home, as its control plane knows it. Raises `NotRunning` and `StoreError`s."""
    async with open_api(home) as store:
        answer = await connected_proxies(store, **{DESCRIBED: "true"})
        snapshot = await read_snapshot(store, settings_of(home))
    proxies = tuple(item.proxy for item in answer.proxies if item.proxy is not None)
    return KnownMesh(snapshot, proxies, {})


async def described_mesh(batch: Iterable[Item]) -> KnownMesh:
    """A mesh of nothing but files: they are applied to a store of their own, so that what is refused,
    defaulted and allocated is what it would be. Raises `Failed`."""
    items = list(batch)
    async with _own_store() as store:
        for namespace in sorted({item.ref.namespace for item in items if item.ref.namespace}):
            await _ensure_namespace(store, namespace)
        for item in items:
            try:
                await store.apply(item.obj, field_manager=_FIELD_MANAGER)
            except InvalidResource as error:
                raise Failed(str(item.document.locate(error))) from error
            except StoreError as error:
                raise Failed(f"{item.place}: {error}") from error
        snapshot = await read_snapshot(store, MeshSettings())
    return KnownMesh(snapshot, (), {item.ref: item.document for item in items})


@asynccontextmanager
async def _own_store() -> AsyncIterator[EmbeddedStore]:
    with tempfile.TemporaryDirectory(prefix="marline-") as directory:
        store = await EmbeddedStore.open(Path(directory) / "store.db")
        try:
            yield store
        finally:
            await store.close()


async def _ensure_namespace(store: ResourceStore, name: str) -> None:
    try:
        await store.get(Ref("", "Namespace", "", name))
    except NotFound:
        await store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def choose_proxy(mesh: KnownMesh, name: str) -> Proxy:
    """The proxy of the workload that a user means by its name, its `app` label or the beginning of its
    name, each with `.namespace` if need be. Of several of one name the first is taken: they have the same
    configuration unless they differ in labels. Raises `Missing` and `Failed`."""
    for fits in (_is_named, _is_app, _begins_so):
        found = [item for item in mesh.proxies if fits(item.workloads[0], name)]
        if found and len({(item.workloads[0].namespace, item.workloads[0].labels) for item in found}) == 1:
            return found[0]
        if found:
            listed = ", ".join(
                sorted(f"{item.workloads[0].name}.{item.workloads[0].namespace}" for item in found)
            )
            raise Failed(f"{name!r} may mean {listed}; name one of them")
    known = ", ".join(
        sorted(f"{item.workloads[0].name}.{item.workloads[0].namespace}" for item in mesh.proxies)
    )
    raise Missing(f"no proxy of a workload {name!r} is connected; connected: {known or 'none'}")


def _is_named(item: Workload, name: str) -> bool:
    return name in (item.name, f"{item.name}.{item.namespace}")


def _is_app(item: Workload, name: str) -> bool:
    app = dict(item.labels).get("app", "")
    return bool(app) and name in (app, f"{app}.{item.namespace}")


def _begins_so(item: Workload, name: str) -> bool:
    beginning, dot, namespace = name.partition(".")
    return item.name.startswith(beginning) and (not dot or item.namespace == namespace)


def imagined_proxy(
    mesh: KnownMesh, name: str, namespace: str, labels: Mapping[str, str], *, gateway: bool
) -> Proxy:
    """The sidecar of a workload of files (a WorkloadEntry), or of one that only its labels describe; or a
    gateway with these labels. A sidecar captures transparently, as in Kubernetes."""
    entry: Resource[WorkloadEntrySpec] | None = mesh.snapshot.resource(Ref(*WORKLOAD_ENTRY, namespace, name))
    if gateway:
        chosen = dict(labels) or {"istio": name, "app": name}
        workload = Workload(namespace, name, name, labels_of(chosen))
        return Proxy(
            f"gateway~{namespace}~{name}", Role.GATEWAY, Capture.EXPLICIT, (workload,), privileged_ports=True
        )
    chosen = dict(labels) or (dict(entry_labels(entry)) if entry is not None else {"app": name})
    workload = Workload(namespace, name, labels=labels_of(chosen))
    if entry is not None:
        account = entry.spec.service_account or "default"
        workload = replace(workload, service_account=account, address=entry.spec.address)
    return Proxy(f"sidecar~{namespace}~{name}", Role.SIDECAR, Capture.TRANSPARENT, (workload,))


async def lines_of(home: Home, refs: Iterable[Ref]) -> dict[Ref, Document]:
    """Resources of the running mesh, with the lines that `marline get KIND NAME -o yaml` prints."""
    found: dict[Ref, Document] = {}
    async with open_api(home) as store:
        for ref in dict.fromkeys(refs):
            try:
                found[ref] = as_printed(await store.get_object(ref))
            except NotFound:
                continue  # it has just been deleted, and no line of it is left to be named
    return found


def located(place: Place | None, documents: Mapping[Ref, Document]) -> Place | None:
    """A place with its line, as far as it is known."""
    document = documents.get(place.resource) if place is not None else None
    if place is None or document is None or not place.field:
        return place
    return Place(place.resource, place.field, document.line(place.field), document.file)
