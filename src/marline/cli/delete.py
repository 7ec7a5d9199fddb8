"""`marline delete`: by name, or what files describe."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click

from marline.api.resource import Ref
from marline.cli.batch import make_batch
from marline.cli.completing import complete_kind
from marline.cli.exits import Missing
from marline.cli.files import file_option, read_files, recursive_option
from marline.cli.kinds import choose_targets, ref_to, said
from marline.cli.mesh import open_api
from marline.cli.options import Settings, mesh_options
from marline.cli.output import JSON, TABLE, YAML, dump, output_option
from marline.node.home import Home
from marline.store.interface import NotFound


@click.command()
@click.argument("words", nargs=-1, metavar="[KIND NAME...]", shell_complete=complete_kind)
@file_option
@recursive_option
@click.option("-n", "--namespace", metavar="NAMESPACE", help="Where they are (default: default).")
@click.option("--ignore-not-found", is_flag=True, help="It is well if there is nothing to delete.")
@output_option(TABLE, JSON, YAML)
@mesh_options
@click.pass_obj
def command(
    settings: Settings,
    words: tuple[str, ...],
    files: tuple[Path, ...],
    recursive: bool,
    namespace: str | None,
    ignore_not_found: bool,
    output: str,
) -> None:
    """Delete the resources NAME of a KIND (also as KIND/NAME), or those that files describe.

    What is there is deleted even if something else is not; then the exit code is 4.
    """
    if bool(words) == bool(files):
        raise click.UsageError("say what to delete: either KIND NAME... or -f FILE")
    if files:
        # What was written last may need what was written first.
        batch = make_batch(read_files(files, recursive=recursive), namespace, checked=False)
        refs = [item.ref for item in reversed(batch)]
    else:
        targets = choose_targets(words)
        if not all(target.name for target in targets):
            raise click.UsageError("name what to delete")
        refs = [ref_to(target, namespace or "default") for target in targets]
    deleted, absent = asyncio.run(_delete(settings.home, refs))
    if output == TABLE:
        for ref in deleted:
            click.echo(f"{said(ref)} deleted")
    else:
        dump([{**ref._asdict(), "action": "deleted"} for ref in deleted], output)
    if absent and not ignore_not_found:
        raise Missing("\n".join(str(error) for error in absent))


async def _delete(home: Home, refs: Sequence[Ref]) -> tuple[list[Ref], list[NotFound]]:
    deleted: list[Ref] = []
    absent: list[NotFound] = []
    async with open_api(home) as store:
        for ref in refs:
            try:
                await store.delete(ref)
                deleted.append(ref)
            except NotFound as error:
                absent.append(error)
    return deleted, absent
