"""What shells offer for arguments: names of workloads and of kinds."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

from marline.cli.options import Settings


def complete_workload(
    context: click.Context, _: click.Parameter, beginning: str
) -> "list[CompletionItem | str]":
    """Workloads of this machine."""
    from marline.node.records import recorded

    home = context.ensure_object(Settings).home
    return [item.name for item in recorded(home) if item.name.startswith(beginning)]


def complete_kind(context: click.Context, _: click.Parameter, beginning: str) -> "list[CompletionItem | str]":
    """Kinds of resources, by their plurals."""
    from marline.api.registry import KINDS

    return sorted({kind.plural for kind in KINDS if kind.plural.startswith(beginning.lower())})
