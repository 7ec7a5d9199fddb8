"""`marline analyze`: what is wrong or risky in resources of files, of the running mesh, or of both."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from marline.analyze.checks import analyze
from marline.analyze.findings import INVALID, Finding, Severity
from marline.api.decode import admit, decode
from marline.api.errors import InvalidResource
from marline.api.registry import KINDS
from marline.api.resource import Ref, Resource
from marline.cli.batch import Item, make_batch
from marline.cli.describe import settings_of
from marline.cli.exits import ExitCode
from marline.cli.files import file_option, read_files, recursive_option
from marline.cli.findings import echo, report, sarif
from marline.cli.get import as_printed
from marline.cli.mesh import connected_proxies, open_api
from marline.cli.options import Settings, mesh_options
from marline.cli.output import JSON, TABLE, YAML, dump, output_option
from marline.mesh.model import ChangeSet, Proxy
from marline.mesh.snapshot import advance, empty
from marline.node.errors import NotRunning
from marline.node.home import Home
from marline.store.remote.paths import ref_of
from marline.xds.status import DESCRIBED

SARIF: Final = "sarif"
_READ: Final = tuple(kind for kind in KINDS if kind.read_by_mesh)
_THRESHOLDS: Final[Mapping[str, Severity | None]] = {
    "error": Severity.ERROR,
    "warning": Severity.WARNING,
    "info": Severity.INFO,
    "never": None,
}


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, allow_dash=True, path_type=Path))
@file_option
@recursive_option
@click.option("-n", "--namespace", metavar="NAMESPACE", help="For resources of files that say none.")
@click.option("--offline", is_flag=True, help="Look at the files alone, also if a mesh is running.")
@click.option(
    "--fail-on",
    type=click.Choice(list(_THRESHOLDS)),
    default="error",
    show_default=True,
    help="End with 1 if something as grave, or graver, is found.",
)
@click.option("--suppress", multiple=True, metavar="CODE", help="Do not report findings of this code.")
@output_option(TABLE, JSON, YAML, SARIF)
@mesh_options
@click.pass_context
def command(
    context: click.Context,
    paths: tuple[Path, ...],
    files: tuple[Path, ...],
    recursive: bool,
    namespace: str | None,
    offline: bool,
    fail_on: str,
    suppress: tuple[str, ...],
    output: str,
) -> None:
    """Find what is wrong or risky in the resources of files and directories ('-': of standard input), seen
    together with those of the running mesh; without files, in the running mesh.

    Codes that begin with IST are those of istioctl analyze. A resource may ask for silence with the
    annotation galley.istio.io/analyze-suppress. With files, what they neither have nor cause is not shown.
    """
    given = (*paths, *files)
    if not given and offline:
        raise click.UsageError("--offline needs files")
    home = context.ensure_object(Settings).home
    batch = make_batch(read_files(given, recursive=recursive), namespace, checked=False) if given else []
    running = _NOTHING if offline else asyncio.run(_running(home, required=not given))
    shown = [item for item in _findings(home, running, batch) if item.code.code not in suppress]
    documents = {item.ref: item.document for item in batch}
    documents |= {
        item.ref: as_printed(running.objects[item.ref]) for item in shown if item.ref not in documents
    }
    reports = [report(item, documents[item.ref]) for item in shown]
    if output == SARIF:
        dump(sarif(reports, shown), JSON)
    elif output != TABLE:
        dump(reports, output)
    else:
        echo(reports, len(running.objects.keys() | documents.keys()))
    threshold = _THRESHOLDS[fail_on]
    if threshold is not None and any(item.code.severity >= threshold for item in shown):
        context.exit(ExitCode.FAILED)


@dataclass(frozen=True, slots=True)
class _Running:
    """The running mesh."""

    objects: Mapping[Ref, dict[str, Any]]
    proxies: tuple[Proxy, ...] | None
    """None: no mesh is looked at."""


_NOTHING: Final = _Running({}, None)


async def _running(home: Home, *, required: bool) -> _Running:
    """The mesh of a home; nothing if none runs and none is required."""
    try:
        async with open_api(home) as store:
            lists = await asyncio.gather(*(store.list_objects(kind.group, kind.kind) for kind in _READ))
            answer = await connected_proxies(store, **{DESCRIBED: "true"})
    except NotRunning:
        if required:
            raise
        return _NOTHING
    proxies = tuple(item.proxy for item in answer.proxies if item.proxy is not None)
    return _Running({ref_of(obj): obj for objects in lists for obj in objects}, proxies)


def _findings(home: Home, running: _Running, batch: Sequence[Item]) -> list[Finding]:
    refused = [finding for item in batch for finding in _refusals(item)]
    wrong = {finding.ref for finding in refused}
    resources = {ref: decode(obj) for ref, obj in running.objects.items()}
    before = set(_analyzed(home, resources, running.proxies)) if batch else set()
    resources |= {item.ref: decode(item.obj) for item in batch if item.ref not in wrong}
    mine = {item.ref for item in batch}
    after = _analyzed(home, resources, running.proxies)
    return [*refused, *(item for item in after if not batch or item.ref in mine or item not in before)]


def _analyzed(
    home: Home, resources: Mapping[Ref, Resource[Any]], proxies: tuple[Proxy, ...] | None
) -> tuple[Finding, ...]:
    change = ChangeSet(tuple(resources.values()), (), "1")
    return analyze(advance(empty(settings_of(home)), change)[0], proxies)


def _refusals(item: Item) -> list[Finding]:
    try:
        admit(item.obj)
    except InvalidResource as error:
        return [
            Finding(
                INVALID, item.ref, fault.path, fault.message,
                f"Did you mean {fault.suggestion}?" if fault.suggestion else "",
            )
            for fault in error.errors
        ]  # fmt: skip
    return []
