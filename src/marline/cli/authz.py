"""`marline authz`: who may reach what, by which policy."""

import click

from marline.cli.authz_check import check
from marline.cli.authz_list import list_policies
from marline.cli.authz_suggest import suggest
from marline.cli.authz_test import test
from marline.cli.options import Settings, mesh_options
from marline.cli.output import output_option


@click.group(invoke_without_command=True)
@output_option()
@mesh_options
@click.pass_context
def command(context: click.Context, output: str) -> None:
    """List authorization policies, ask what they decide, and test them.

    Without a command: all AuthorizationPolicies, the workloads of this mesh for which they count, and how
    many requests each of their rules covered, as proxies still count it (anew when they are changed). Of
    connections that are not HTTP no single rules are counted.
    """
    if context.invoked_subcommand is None:
        settings = context.find_object(Settings) or Settings()
        list_policies(settings.home, output)


for _command in (check, test, suggest):
    command.add_command(_command)
