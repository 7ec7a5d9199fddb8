"""A mesh of nothing but files: `explain`, `authn` and `authz` answer about it without any that runs."""

import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

import click

from marline.api.errors import InvalidResource
from marline.api.networking.workload_entry import WorkloadEntrySpec
from marline.api.resource import Ref, Resource
from marline.cli.batch import Item, make_batch
from marline.cli.exits import Failed
from marline.cli.explain_mesh import KnownMesh, read_snapshot
from marline.cli.files import read_files
from marline.mesh.endpoints import entry_labels
from marline.mesh.model import Capture, MeshSettings, Proxy, Role, Workload, labels_of
from marline.node.application import Application, parse
from marline.node.plan import Place, Plan, plan_gateway, plan_workload, workload_name
from marline.store.embedded.store import EmbeddedStore
from marline.store.interface import NotFound, ResourceStore, StoreError

_FIELD_MANAGER: Final = "marline"
_WORKLOAD_ENTRY: Final = ("networking.istio.io", "WorkloadEntry")
_NODE: Final = "described"
_FIRST_ADDRESS: Final = IPv4Address("198.18.0.1")
"""Addresses that are nobody's (RFC 2544), for workloads that do not run."""

application_option = click.option(
    "-a", "--application", "applications", multiple=True, metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An application file, whose workloads are taken to be ready; nothing has to run.",
)  # fmt: skip


async def mesh_of_files(
    files: tuple[Path, ...], applications: tuple[Path, ...], *, recursive: bool
) -> KnownMesh:
    """As `-f` and `-a` name them. Raises `Failed` and `InvalidResource`."""
    batch = make_batch(read_files(files, recursive=recursive), None) if files else []
    return await described_mesh(batch, map(read_application, applications))


def read_application(file: Path) -> Application:
    """Raises `Failed` and `InvalidResource`."""
    try:
        return parse(file.read_text(encoding="utf-8"), str(file), file.stem)
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"{file} cannot be read: {error}") from error


async def described_mesh(batch: Iterable[Item], applications: Iterable[Application] = ()) -> KnownMesh:
    """The resources are applied to a store of their own, so that what is refused, defaulted and allocated
    is what it would be; the workloads of application files are taken to be ready. Raises `Failed`."""
    items, plans = list(batch), list(_plans(applications))
    async with _own_store() as store:
        for namespace in dict.fromkeys(item.ref.namespace for item in items if item.ref.namespace):
            await _ensure_namespace(store, namespace)
        for item in items:
            try:
                await store.apply(item.obj, field_manager=_FIELD_MANAGER)
            except InvalidResource as error:
                raise Failed(str(item.document.locate(error))) from error
            except StoreError as error:
                raise Failed(f"{item.place}: {error}") from error
        for plan in plans:
            await _register(store, plan)
        snapshot = await read_snapshot(store, MeshSettings())
    return KnownMesh(
        snapshot, tuple(plan.proxy for plan in plans), {item.ref: item.document for item in items}
    )


def _plans(applications: Iterable[Application]) -> Iterator[Plan]:
    """What would be started, under transparent capture as in Kubernetes."""
    domain, address = MeshSettings().trust_domain, _FIRST_ADDRESS
    for application in applications:
        for item in application.workloads:
            for number in range(item.replicas):
                spec = item.spec
                suffix = str(number + 1) if item.replicas > 1 else ""
                name = spec.name or workload_name(spec.service, spec.version, suffix)
                place = Place(Capture.TRANSPARENT, str(address))
                yield plan_workload(spec, name, _NODE, domain, place, lambda: 0)
                address += 1
        for gateway in application.gateways:
            yield plan_gateway(gateway, _NODE, domain, is_root=True)


async def _register(store: ResourceStore, plan: Plan) -> None:
    """As the node does it: a Service that is there stays as it is."""
    if plan.entry is None:
        return
    metadata = plan.entry["metadata"]
    ref = Ref(*_WORKLOAD_ENTRY, metadata["namespace"], metadata["name"])
    await _ensure_namespace(store, ref.namespace)
    await store.apply(plan.entry, field_manager=_FIELD_MANAGER)
    await store.patch_status(ref, {"conditions": [{"type": "Healthy", "status": "True"}]})
    service = plan.service
    if service is not None:
        try:
            await store.get(Ref("", "Service", service["metadata"]["namespace"], service["metadata"]["name"]))
        except NotFound:
            await store.apply(service, field_manager=_FIELD_MANAGER)


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


def imagined_proxy(
    mesh: KnownMesh, name: str, namespace: str, labels: Mapping[str, str], *, gateway: bool
) -> Proxy:
    """The sidecar of a workload of files (a WorkloadEntry), or of one that only its labels describe; or a
    gateway with these labels. A sidecar captures transparently, as in Kubernetes."""
    entry: Resource[WorkloadEntrySpec] | None = mesh.snapshot.resource(Ref(*_WORKLOAD_ENTRY, namespace, name))
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
