"""`marline authz`: who may reach what, by which policy."""

import click

from marline.cli.authz_check import check
from marline.cli.authz_suggest import suggest
from marline.cli.authz_test import test


@click.group()
def command() -> None:
    """Show what authorization policies decide, and test them."""


for _command in (check, test, suggest):
    command.add_command(_command)
