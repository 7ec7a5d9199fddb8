"""`marline diff`: what applying files (or deleting resources) would change, and what follows from it."""

import asyncio
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from marline.api.decode import encode
from marline.api.errors import InvalidResource
from marline.api.resource import Ref, Resource
from marline.cli.apply import check
from marline.cli.batch import Item, make_batch
from marline.cli.describe import settings_of
from marline.cli.diff_text import ResourceChange, render
from marline.cli.exits import CannotTell, ExitCode, Failed, Missing
from marline.cli.explain_mesh import read_snapshot
from marline.cli.failures import explain
from marline.cli.files import file_option, read_files, recursive_option
from marline.cli.kinds import choose_targets, ref_to
from marline.cli.mesh import connected_proxies, open_api
from marline.cli.options import Settings, mesh_options
from marline.cli.output import JSON, TABLE, YAML, dump, output_option, to_yaml
from marline.explain.changes import Forecast, forecast
from marline.explain.origin import Place
from marline.mesh.model import ChangeSet
from marline.node.home import Home
from marline.store.interface import NotFound, ResourceStore, StoreError
from marline.store.managed_fields import LAST_APPLIED
from marline.xds.status import DESCRIBED

_OF_THE_SERVER = ("resourceVersion", "generation", "managedFields", "uid", "creationTimestamp", "selfLink")


class Difference(msgspec.Struct, frozen=True, rename="camel"):
    """All that a change would do."""

    resources: tuple[ResourceChange, ...]
    forecast: Forecast


@click.command()
@file_option
@recursive_option
@click.option(
    "-n", "--namespace", metavar="NAMESPACE", help="For resources that say none (default: default)."
)
@click.option("--delete", "deleted", multiple=True, metavar="KIND/NAME", help="Also delete this resource.")
@click.option("--force-conflicts", is_flag=True, help="As if applied with --force-conflicts.")
@output_option(TABLE, JSON, YAML)
@mesh_options
@click.pass_obj
def command(
    settings: Settings,
    files: tuple[Path, ...],
    recursive: bool,
    namespace: str | None,
    deleted: tuple[str, ...],
    force_conflicts: bool,
    output: str,
) -> int:
    """Tell what applying files would change: resources, the configuration of each proxy, and what follows:
    who loses access, which shares of traffic move, which rules are never reached.

    Nothing is changed. Exit code 0: there are no differences; 1: there are; above 1: it could not be found
    out, and stderr says why.
    """
    if not files and not deleted:
        raise click.UsageError("say what to apply with -f FILE, or what to delete with --delete KIND/NAME")
    try:
        batch = make_batch(read_files(files, recursive=recursive), namespace) if files else []
        targets = choose_targets(deleted) if deleted else ()
        removed = tuple(ref_to(target, namespace or "default") for target in targets)
        found = asyncio.run(_differ(settings.home, batch, removed, force=force_conflicts))
    except (InvalidResource, Failed, StoreError) as error:
        # To scripts 1 means that there are differences, as with kubectl.
        said = error.message if isinstance(error, click.ClickException) else explain(error)
        raise CannotTell(said) from error
    if output == TABLE:
        click.echo(render(found.resources, found.forecast), nl=False)
    else:
        dump(found, output)
    return ExitCode.FAILED if found.resources or found.forecast.proxies else ExitCode.OK


async def _differ(home: Home, batch: Sequence[Item], removed: Sequence[Ref], *, force: bool) -> Difference:
    """Raises `NotRunning`, `Missing`, `Failed` and `StoreError`s."""
    async with open_api(home) as store:
        outcomes = await check(store, batch, force=force)
        gone = [await _present(store, ref) for ref in removed]
        answer = await connected_proxies(store, **{DESCRIBED: "true"})
        snapshot = await read_snapshot(store, settings_of(home))
    changed = [item for item in outcomes if item.action != "unchanged" and item.after is not None]
    change = ChangeSet(
        tuple(item.after for item in changed if item.after is not None), tuple(removed), "then"
    )
    proxies = tuple(item.proxy for item in answer.proxies if item.proxy is not None)
    resources = [_change(item.ref, item.action, item.before, item.after) for item in changed]
    resources += [_change(item.ref, "deleted", item, None) for item in gone]
    return Difference(tuple(resources), forecast(snapshot, change, proxies))


async def _present(store: ResourceStore, ref: Ref) -> Resource[Any]:
    try:
        return await store.get(ref)
    except NotFound as error:
        raise Missing(str(error)) from error


def _change(
    ref: Ref, action: str, before: Resource[Any] | None, after: Resource[Any] | None
) -> ResourceChange:
    old, new = _yaml(before, after), _yaml(after, before)
    lines = difflib.unified_diff(old, new, f"{ref} as it is", f"{ref} as it would be", lineterm="")
    return ResourceChange(Place.at(ref), action, tuple(lines))


def _yaml(resource: Resource[Any] | None, other: Resource[Any] | None) -> list[str]:
    """What its user has written, and nothing that the server keeps about it."""
    if resource is None:
        return []
    obj = encode(resource)
    metadata = {name: value for name, value in obj["metadata"].items() if name not in _OF_THE_SERVER}
    if LAST_APPLIED in metadata.get("annotations", {}):  # the same once more, with the values of a Secret
        metadata["annotations"] = {**metadata["annotations"], LAST_APPLIED: "…"}
    body = {name: value for name, value in obj.items() if name != "status"}
    if resource.kind == "Secret":
        body |= _without_values(body, encode(other) if other is not None else {})
    return to_yaml({**body, "metadata": metadata}).splitlines()


def _without_values(secret: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """A Secret's values are not for terminals and logs: only which of them differ can be seen, as with
    `kubectl diff`."""
    return {
        part: {
            name: "***" if other.get(part, {}).get(name) == value else "*** (differs)"
            for name, value in secret[part].items()
        }
        for part in ("data", "stringData")
        if part in secret
    }
