"""`marline completion`: what a shell has to read to complete commands, options, kinds and workloads."""

import click
from click.shell_completion import get_completion_class

from marline.cli.exits import Failed
from marline.cli.options import mesh_options

_HINTS = {
    "bash": 'eval "$(marline completion bash)"  in ~/.bashrc',
    "zsh": 'eval "$(marline completion zsh)"  in ~/.zshrc',
    "fish": "marline completion fish > ~/.config/fish/completions/marline.fish",
}


@click.command(epilog="\b\nTo have it in every shell:\n" + "\n".join(f"  {hint}" for hint in _HINTS.values()))
@click.argument("shell", type=click.Choice(tuple(_HINTS)))
@mesh_options
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print a script that completes marline's commands in SHELL."""
    chosen = get_completion_class(shell)
    if chosen is None:
        raise Failed(f"there is no completion for {shell}")
    root = context.find_root().command
    click.echo(chosen(root, {}, "marline", "_MARLINE_COMPLETE").source())
