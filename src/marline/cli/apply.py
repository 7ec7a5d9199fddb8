"""`marline apply`: create or change resources as files describe them, all or none.

Server-side apply (kubernetes.io, "Server-Side Apply") is the only way: the server knows who owns which field.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from marline.api.decode import admit, warnings
from marline.api.errors import FieldError, InvalidResource
from marline.api.resource import Ref, Resource
from marline.cli.batch import Item, make_batch
from marline.cli.exits import Failed
from marline.cli.failures import explain
from marline.cli.files import file_option, read_files, recursive_option
from marline.cli.kinds import said
from marline.cli.mesh import connected_proxies, open_api, running_workloads
from marline.cli.options import Settings, mesh_options, timeout_option
from marline.cli.output import JSON, TABLE, YAML, dump, output_option
from marline.cli.progress import progress
from marline.node.home import Home
from marline.store.interface import NotFound, ResourceStore, StoreError, Unavailable
from marline.store.spans import human_duration
from marline.xds.status import CONNECTED, PENDING, SETTLED_AT, TIMEOUT_SECONDS, ProxyList

FIELD_MANAGER: Final = "marline"
_AT_ONCE: Final = 16
"""Resources that are checked at the same time."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one resource."""

    ref: Ref
    action: str
    """`created`, `configured` or `unchanged`."""
    resource_version: str = ""
    """Of what was written."""
    before: Resource[Any] | None = None
    after: Resource[Any] | None = None
    """Of a check: what is there, and what would be."""

    @property
    def plain(self) -> dict[str, str]:
        return {**self.ref._asdict(), "action": self.action, "resourceVersion": self.resource_version}


@click.command()
@file_option
@recursive_option
@click.option(
    "-n", "--namespace", metavar="NAMESPACE", help="For resources that say none (default: default)."
)
@click.option("--dry-run", is_flag=True, help="Say what would happen, and change nothing.")
@click.option("--force-conflicts", is_flag=True, help="Take over fields that others have set.")
@click.option("--wait", is_flag=True, help="Wait until every proxy has what follows from it.")
@timeout_option("30s")
@output_option(TABLE, JSON, YAML)
@mesh_options
@click.pass_obj
def command(
    settings: Settings,
    files: tuple[Path, ...],
    recursive: bool,
    namespace: str | None,
    dry_run: bool,
    force_conflicts: bool,
    wait: bool,
    timeout: float,
    output: str,
) -> None:
    """Create or change resources as files describe them.

    All resources of all files are checked first, here and by the control plane; if one of them is refused,
    none is written. What is written is seen by proxies all at once. Fields that others have set stay
    theirs: changing them is a conflict.
    """
    if not files:
        raise click.UsageError("say what to apply with -f FILE")
    batch = make_batch(read_files(files, recursive=recursive), namespace)
    waits = wait and not dry_run
    known = asyncio.run(_rejections(settings.home)) if waits else frozenset()
    outcomes = asyncio.run(_apply(settings.home, batch, force=force_conflicts, dry_run=dry_run))
    for item in batch:
        for warning in warnings(item.obj):
            click.echo(f"warning: {said(item.ref)}: {warning}", err=True)
    if output != TABLE:
        dump([outcome.plain for outcome in outcomes], output)
    else:
        for outcome in outcomes:
            click.echo(f"{said(outcome.ref)} {outcome.action}{' (dry run)' if dry_run else ''}")
    if waits:
        asyncio.run(_wait(settings.home, outcomes, known, timeout))


async def _apply(home: Home, batch: Sequence[Item], *, force: bool, dry_run: bool) -> list[Outcome]:
    async with open_api(home) as store, progress(f"applying {len(batch)} resources"):
        checked = await check(store, batch, force=force)
        return checked if dry_run else await write(store, batch, force=force)


async def _rejections(home: Home) -> frozenset[str]:
    """What proxies refuse already, whatever is applied."""
    async with open_api(home) as store:
        return frozenset(_refusals(await connected_proxies(store)))


def _refusals(found: ProxyList) -> list[str]:
    return [
        f"{proxy.name} refuses {one.name}: {one.message}"
        for proxy in found.proxies
        for one in proxy.rejections
    ]


async def _wait(home: Home, outcomes: Sequence[Outcome], known: Collection[str], timeout: float) -> None:
    """Raises `Failed` if a proxy refuses something that is not known of, or is not there in time."""
    newest = max(outcomes, key=lambda outcome: int(outcome.resource_version or 0)).resource_version
    async with open_api(home) as store, progress("waiting for proxies"):
        running = sum(workload.envoy_pid != 0 for workload in await running_workloads(home))
        awaited = {SETTLED_AT: newest, CONNECTED: str(running), TIMEOUT_SECONDS: str(timeout)}
        found = await connected_proxies(store, **awaited)
    lines = [line for line in _refusals(found) if line not in known]
    late = [proxy.name for proxy in found.proxies if proxy.state == PENDING]
    if len(found.proxies) < running:
        lines.append(f"of {running} proxies on this machine {len(found.proxies)} are connected")
    if late:
        lines.append(f"not up to date after {human_duration(timeout)}: {', '.join(late)}")
    if lines:
        raise Failed("\n".join(["not every proxy has it:", *(f"  {line}" for line in lines)]))


async def check(store: ResourceStore, batch: Sequence[Item], *, force: bool) -> list[Outcome]:
    """What would become of each resource. Raises `InvalidResource` or `Failed` with what the server
    refuses, each at its place in a file."""
    limit = asyncio.Semaphore(_AT_ONCE)
    made = {item.ref for item in batch if item.ref.kind == "Namespace"}

    async def one(item: Item) -> Outcome | StoreError | InvalidResource:
        async with limit:
            try:
                before = await current(store, item.ref)
                after = await store.apply(item.obj, field_manager=FIELD_MANAGER, force=force, dry_run=True)
            except Unavailable:
                raise
            except NotFound as error:
                # Its namespace comes with the same files, so the server has nothing to say yet.
                return Outcome(item.ref, "created", after=admit(item.obj)) if error.ref in made else error
            except (StoreError, InvalidResource) as error:
                return error
            action = "created" if before is None else "unchanged" if before == after else "configured"
            return Outcome(item.ref, action, before=before, after=after)

    results = await asyncio.gather(*(one(item) for item in batch))
    _raise_refusals(batch, results)
    return [result for result in results if isinstance(result, Outcome)]


def _raise_refusals(batch: Sequence[Item], results: Sequence[Outcome | StoreError | InvalidResource]) -> None:
    faults: list[FieldError] = []
    refusals: list[str] = []
    for item, result in zip(batch, results, strict=True):
        if isinstance(result, InvalidResource):
            faults += item.document.locate(result).errors
        elif isinstance(result, StoreError):
            refusals.append(f"{item.place}: {explain(result)}")
    lines = [*(str(fault) for fault in faults), *refusals]
    if lines:
        raise Failed("nothing was applied:\n" + "\n".join(f"  {line}" for line in lines))


async def write(store: ResourceStore, batch: Sequence[Item], *, force: bool) -> list[Outcome]:
    """Apply all at one moment: proxies never see half of what belongs together. Raises `Failed` if the
    server changes its mind since the check."""
    before = [await current(store, item.ref) for item in batch]
    try:
        applied = await store.apply_all(
            [item.obj for item in batch], field_manager=FIELD_MANAGER, force=force
        )
    except Unavailable:
        raise
    except (StoreError, InvalidResource) as error:
        raise Failed(f"nothing was applied: {explain(error)}") from error
    return [
        Outcome(item.ref, _action(old, new), new.metadata.resource_version)
        for item, old, new in zip(batch, before, applied, strict=True)
    ]


async def current(store: ResourceStore, ref: Ref) -> Resource[Any] | None:
    """The resource as it is, or None."""
    try:
        return await store.get(ref)
    except NotFound:
        return None


def _action(before: Resource[Any] | None, after: Resource[Any]) -> str:
    if before is None:
        return "created"
    same = before.metadata.resource_version == after.metadata.resource_version
    return "unchanged" if same else "configured"
