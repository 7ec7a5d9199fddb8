"""The mesh that `explain` and `diff` ask about, and whom a user means in it."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from marline.api.documents import Document
from marline.api.registry import READ_BY_MESH
from marline.api.resource import Ref, Resource
from marline.cli.describe import settings_of
from marline.cli.exits import Failed, Missing
from marline.cli.get import as_printed
from marline.cli.mesh import connected_proxies, open_api
from marline.explain.origin import Place
from marline.mesh.model import (
    ChangeSet,
    MeshSettings,
    Proxy,
    Workload,
)
from marline.mesh.snapshot import MeshSnapshot, advance, empty
from marline.node.home import Home
from marline.store.interface import NotFound, ResourceStore
from marline.xds.status import DESCRIBED


@dataclass(frozen=True, slots=True)
class KnownMesh:
    """A mesh at one moment, and who is connected to it."""

    snapshot: MeshSnapshot
    proxies: tuple[Proxy, ...]
    documents: Mapping[Ref, Document]
    """Where the resources of files stand."""


async def read_snapshot(store: ResourceStore, settings: MeshSettings) -> MeshSnapshot:
    """All that the API has and the mesh is made of."""
    listings = await asyncio.gather(*(store.list(*kind) for kind in READ_BY_MESH))
    found: tuple[Resource[Any], ...] = tuple(item for listing in listings for item in listing.items)
    return advance(empty(settings), ChangeSet(found, resource_version="now"))[0]


async def running_mesh(home: Home) -> KnownMesh:
    """The mesh of a home, as its control plane knows it. Raises `NotRunning` and `StoreError`s."""
    async with open_api(home) as store:
        answer = await connected_proxies(store, **{DESCRIBED: "true"})
        snapshot = await read_snapshot(store, settings_of(home))
    proxies = tuple(item.proxy for item in answer.proxies if item.proxy is not None)
    return KnownMesh(snapshot, proxies, {})


def proxies_called(mesh: KnownMesh, name: str) -> list[Proxy]:
    """The proxies of the workloads that a user means by a name, an `app` label or the beginning of a name,
    each with `.namespace` if need be. Raises `Missing` if there are none."""
    for fits in (_is_named, _is_app, _begins_so):
        found = [item for item in mesh.proxies if fits(item.workloads[0], name)]
        if found:
            return found
    known = _listed(mesh.proxies)
    raise Missing(f"no proxy of a workload {name!r} is connected; connected: {known or 'none'}")


def choose_proxy(mesh: KnownMesh, name: str) -> Proxy:
    """The one of `proxies_called` that a user means. Of several of one name the first is taken: they have
    the same configuration unless they differ in labels. Raises `Missing` and `Failed`."""
    found = proxies_called(mesh, name)
    if len({(item.workloads[0].namespace, item.workloads[0].labels) for item in found}) > 1:
        raise Failed(f"{name!r} may mean {_listed(found)}; name one of them")
    return found[0]


def _listed(proxies: Iterable[Proxy]) -> str:
    return ", ".join(sorted(f"{item.workloads[0].name}.{item.workloads[0].namespace}" for item in proxies))


def _is_named(item: Workload, name: str) -> bool:
    return name in (item.name, f"{item.name}.{item.namespace}")


def _is_app(item: Workload, name: str) -> bool:
    app = dict(item.labels).get("app", "")
    return bool(app) and name in (app, f"{app}.{item.namespace}")


def _begins_so(item: Workload, name: str) -> bool:
    beginning, dot, namespace = name.partition(".")
    return item.name.startswith(beginning) and (not dot or item.namespace == namespace)


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
    return msgspec.structs.replace(place, line=document.line(place.field), file=document.file)
