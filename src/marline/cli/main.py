"""`marline`: the group of all commands, and the one place where errors become messages and exit codes.

Help texts of the commands stand here too, so that `marline --help` imports no command at all.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

import click
from click.exceptions import NoArgsIsHelpError
from click.shell_completion import CompletionItem

from marline.cli.exits import MEANINGS, ExitCode
from marline.cli.options import Settings, mesh_options


class _Command(NamedTuple):
    module: str
    help: str


COMMANDS: Final = {
    "up": _Command("up", "Start the mesh, and what application files describe."),
    "down": _Command("down", "Stop applications, or the whole mesh."),
    "demo": _Command("demo", "Show a mesh at work with a sample application."),
    "run": _Command("run", "Run one program as a workload of the mesh."),
    "apply": _Command("apply", "Create or change resources as files describe them."),
    "get": _Command("get", "List resources."),
    "describe": _Command("describe", "Tell all about one resource or workload."),
    "diff": _Command("diff", "Tell what files would change, before they are applied."),
    "explain": _Command("explain", "Tell what would happen to a request, and why."),
    "authn": _Command("authn", "Show who speaks mutual TLS with whom, and what decides it."),
    "authz": _Command("authz", "Tell who may reach what, by which policy, and test it."),
    "delete": _Command("delete", "Delete resources."),
    "analyze": _Command("analyze", "Find what is wrong or risky in resources."),
    "status": _Command("status", "Show workloads, identities and traffic."),
    "proxy-status": _Command("proxy_status", "Show which proxies have their newest configuration."),
    "proxy-config": _Command("proxy_config", "Show the configuration that a proxy has."),
    "ca": _Command("ca", "Watch and change the certificate authority."),
    "user": _Command("user", "Make kubeconfigs for other users of the API."),
    "token": _Command("token", "Make or revoke tokens for the API, and for nodes to join with."),
    "audit": _Command("audit", "Show who changed what, and what auditors ask about the mesh."),
    "join": _Command("join", "Become a node of a mesh."),
    "check": _Command("check", "Say what this machine can do for a mesh."),
    "version": _Command("version", "Print versions."),
    "completion": _Command("completion", "Print a script that completes commands in a shell."),
}

_EPILOG: Final = (
    "\b\nExit codes:\n"
    + "\n".join(f"  {code.value:>3}  {meaning}" for code, meaning in MEANINGS.items())
    + "\n\n\b\nEnvironment:\n  MARLINE_HOME  the mesh's directory (default ~/.marline)"
    + "\n  NO_COLOR      print without colours"
)


class CommandGroup(click.Group):
    """Imports the module of a command when that command is asked for, and no other."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"marline.cli.{COMMANDS[cmd_name].module}")
        command = module.command
        assert isinstance(command, click.Command)  # noqa: S101 (tells the type checker)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name in COMMANDS or name.startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        import difflib  # only for a misspelling

        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise click.UsageError(f"No such command {name!r}.{hint}", ctx)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """As click does it, but without importing every command for its help."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(name, help=command.help)
            for name, command in COMMANDS.items()
            if name.startswith(incomplete)
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in COMMANDS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        formatter.write_text(_EPILOG)


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@mesh_options
def group() -> None:
    """A service mesh on this machine: Istio's and the Gateway API's resources, Envoy as the proxy."""


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code. Errors are said on stderr."""
    settings = Settings()
    color = False if os.environ.get("NO_COLOR") else None
    try:
        result = group.main(
            list(arguments), prog_name="marline", standalone_mode=False, obj=settings, color=color
        )
    except click.ClickException as error:
        _show(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 (the end of the line: nobody above could do anything better)
        from marline.cli.failures import report  # knows the errors of all rooms

        return report(error, settings)
    return result if isinstance(result, int) else ExitCode.OK


def _show(error: click.ClickException) -> None:
    if isinstance(error, NoArgsIsHelpError):
        error.show()
        return
    click.echo(f"marline: {error.format_message()}", err=True)
    context = getattr(error, "ctx", None)
    if context is not None:
        click.echo(f"Try '{context.command_path} --help' for help.", err=True)


def main() -> int:
    """The entry point of the `marline` program."""
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
