"""`marline get`: resources as tables that the server makes, or as JSON and YAML."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import click

from marline.api.documents import Document, read_documents
from marline.api.registry import Kind
from marline.cli.completing import complete_kind
from marline.cli.kinds import Target, choose_targets, qualified_singular, ref_to
from marline.cli.mesh import open_api
from marline.cli.options import Settings, mesh_options
from marline.cli.output import JSON, NAME, TABLE, WIDE, YAML, dump, grid, output_option, to_yaml
from marline.node.home import Home
from marline.store.remote.client import RemoteStore


@click.command()
@click.argument("words", nargs=-1, metavar="KIND [NAME]...", shell_complete=complete_kind)
@click.option("-n", "--namespace", default="default", show_default=True, metavar="NAMESPACE")
@click.option("-A", "--all-namespaces", is_flag=True, help="Of all namespaces.")
@click.option("-l", "--selector", default="", metavar="LABELS", help="Only with these labels: app=reviews.")
@click.option("--show-managed-fields", is_flag=True, help="In JSON and YAML, say who set which field.")
@output_option(TABLE, WIDE, JSON, YAML, NAME)
@mesh_options
@click.pass_obj
def command(
    settings: Settings,
    words: tuple[str, ...],
    namespace: str,
    all_namespaces: bool,
    selector: str,
    show_managed_fields: bool,
    output: str,
) -> None:
    """List resources of a KIND, or those of the given NAMEs; also as KIND/NAME.

    KIND is a kind's name in any of its forms (vs, virtualservice, virtualservices.networking.istio.io),
    several with commas between them, or a category: all, istio-io, gateway-api.
    """
    targets = choose_targets(words)
    if selector and any(target.name for target in targets):
        raise click.UsageError("give either names or --selector")
    if all_namespaces and any(target.name and target.kind.namespaced for target in targets):
        raise click.UsageError("a resource is named in one namespace; leave out --all-namespaces")
    space = "" if all_namespaces else namespace
    if output in (TABLE, WIDE):
        asyncio.run(_print_tables(settings.home, targets, space, selector, wide=output == WIDE))
        return
    objects = asyncio.run(_objects(settings.home, targets, space, selector))
    if output == NAME:
        for target, obj in objects:
            click.echo(f"{qualified_singular(target.kind)}/{obj['metadata']['name']}")
        return
    shown = [obj if show_managed_fields else without_managed_fields(obj) for _, obj in objects]
    single = len(targets) == 1 and targets[0].name
    dump(shown[0] if single else {"apiVersion": "v1", "kind": "List", "items": shown}, output)


async def _objects(
    home: Home, targets: Sequence[Target], namespace: str, selector: str
) -> list[tuple[Target, dict[str, Any]]]:
    found: list[tuple[Target, dict[str, Any]]] = []
    async with open_api(home) as store:
        for target in targets:
            if target.name:
                found.append((target, await store.get_object(ref_to(target, namespace))))
                continue
            kind, space = target.kind, _space(target.kind, namespace)
            found += [
                (target, obj) for obj in await store.list_objects(kind.group, kind.kind, space, selector)
            ]
    return found


def without_managed_fields(obj: Mapping[str, Any]) -> dict[str, Any]:
    """An object without the record of who set which field, as kubectl shows it."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return {**obj, "metadata": metadata}


def as_printed(obj: Mapping[str, Any]) -> Document:
    """An object with the lines that `marline get KIND NAME -o yaml` prints."""
    (document,) = read_documents(to_yaml(without_managed_fields(obj)))
    return document


async def _print_tables(
    home: Home, targets: Sequence[Target], namespace: str, selector: str, *, wide: bool
) -> None:
    async with open_api(home) as store:
        tables = [
            (kind, await _tables(store, list(same), namespace, selector))
            for kind, same in groupby(targets, key=lambda target: target.kind)
        ]
    shown = [
        render(kind, found, wide=wide, namespaces=not namespace, kinds=len(tables) > 1)
        for kind, found in tables
        if any(table.get("rows") for table in found)
    ]
    if shown:
        click.echo("\n\n".join(shown))
    else:
        where = f" in the namespace {namespace}" if namespace and targets[0].kind.namespaced else ""
        click.echo(f"there are none{where}", err=True)


async def _tables(
    store: RemoteStore, targets: Iterable[Target], namespace: str, selector: str
) -> list[dict[str, Any]]:
    return [
        await store.table(
            target.kind, _space(target.kind, namespace), name=target.name, label_selector=selector
        )
        for target in targets
    ]


def _space(kind: Kind, namespace: str) -> str:
    return namespace if kind.namespaced else ""


def render(
    kind: Kind, tables: Sequence[Mapping[str, Any]], *, wide: bool, namespaces: bool, kinds: bool
) -> str:
    """Tables (meta.k8s.io/v1) of one kind as text. `namespaces`: with a column that says where each is;
    `kinds`: with the kind before each name."""
    definitions = tables[0]["columnDefinitions"]
    shown = [index for index, column in enumerate(definitions) if wide or not column.get("priority")]
    lines = [[str(definitions[index]["name"]).upper() for index in shown]]
    lines += [[_cell(row["cells"][index]) for index in shown] for table in tables for row in table["rows"]]
    name = next((at for at, index in enumerate(shown) if definitions[index].get("format") == "name"), None)
    if kinds and name is not None:
        for line in lines[1:]:
            line[name] = f"{qualified_singular(kind)}/{line[name]}"
    if namespaces and kind.namespaced:
        rows = [row for table in tables for row in table["rows"]]
        spaces = ["NAMESPACE", *(str(row["object"]["metadata"].get("namespace", "")) for row in rows)]
        lines = [[space, *line] for space, line in zip(spaces, lines, strict=True)]
    return grid(lines)


def _cell(value: Any) -> str:
    return "" if value is None else str(value)
