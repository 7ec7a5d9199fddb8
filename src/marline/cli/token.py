"""`marline token`: bearer tokens for the API, for clients that have no use for a client certificate."""

import asyncio
from typing import Final

import click
import msgspec

from marline.cli.mesh import open_api
from marline.cli.options import Settings, mesh_options
from marline.cli.output import TABLE, dump, output_option
from marline.node.home import Home
from marline.store.interface import Unavailable
from marline.store.tokens import ADMINS, NODES, PATH, TokenAnswer, TokenRequest

_GROUPS: Final = {"admin": ADMINS, "node": NODES}


@click.command()
@click.argument("user")
@click.option(
    "--role",
    type=click.Choice(tuple(_GROUPS)),
    default="node",
    show_default=True,
    help="What it allows. node: read all, and register workloads. admin: everything.",
)
@click.option("--revoke", is_flag=True, help="End all tokens of USER instead.")
@output_option()
@mesh_options
@click.pass_obj
def command(settings: Settings, user: str, role: str, revoke: bool, output: str) -> None:
    """Print a new bearer token for USER; or end the tokens that there are.

    The token is shown once: the control plane keeps a hash of it only. Use it as
    `kubectl --token`, or as `Authorization: Bearer`.
    """
    groups = () if revoke else (_GROUPS[role],)
    method = "DELETE" if revoke else "POST"
    answer = asyncio.run(_ask(settings.home, method, TokenRequest(user, groups)))
    if output != TABLE:
        dump({"revoked": answer.revoked} if revoke else {"token": answer.token}, output)
    elif revoke:
        click.echo(f"{answer.revoked} tokens of {user} are revoked")
    else:
        click.echo(answer.token)


async def _ask(home: Home, method: str, asked: TokenRequest) -> TokenAnswer:
    async with open_api(home) as store:
        answer = await store.request(method, PATH, body=msgspec.to_builtins(asked))
    try:
        return msgspec.json.decode(answer.body, type=TokenAnswer)
    except msgspec.DecodeError as error:
        raise Unavailable(f"the control plane's answer cannot be read: {error}") from error
