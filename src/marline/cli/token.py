"""`marline token`: bearer tokens for clients of the API, and join tokens for nodes."""

import asyncio
from typing import Any, Final

import click
import msgspec

from marline.cli.exits import Missing
from marline.cli.join import JoinFile
from marline.cli.mesh import open_api
from marline.cli.options import Settings, mesh_options, seconds
from marline.cli.output import TABLE, dump, output_option
from marline.node.home import Home
from marline.store.interface import Unavailable
from marline.store.tokens import JOIN_TOKENS, PATH, JoinTokenRequest, TokenAnswer, TokenRequest

_JOIN_SECONDS: Final = 600.0


@click.group()
def command() -> None:
    """Make or revoke tokens for the API.

    A token is shown once: the control plane keeps a hash of it only.
    """


@command.command()
@click.argument("user", required=False)
@click.option("-g", "--group", "groups", multiple=True, metavar="GROUP", help="A group that the user is in.")
@click.option("--node", metavar="NAME", help="Make what the node of this name joins with, once, instead.")
@click.option("--ttl", metavar="DURATION", callback=seconds, help="How long it is valid. For a node 10m.")
@output_option()
@mesh_options
@click.pass_obj
def create(
    settings: Settings,
    user: str | None,
    groups: tuple[str, ...],
    node: str | None,
    ttl: float | None,
    output: str,
) -> None:
    """Print a new bearer token for USER; or with --node what `marline join` needs.

    What USER may do, roles say: the kinds RoleBinding and ClusterRoleBinding. Use a bearer token as
    `kubectl --token`, or as `Authorization: Bearer`; without --ttl it is valid until it is revoked.
    """
    if (user is None) == (node is None):
        raise click.UsageError("give a USER, or a node with --node NAME")
    if user is not None:
        token = asyncio.run(_ask(settings.home, "POST", PATH, TokenRequest(user, groups, ttl or 0))).token
        if output == TABLE:
            click.echo(token)
        else:
            dump({"token": token}, output)
    elif groups:
        raise click.UsageError("a node is in the group marline:nodes and no other")
    else:
        join = asyncio.run(_join_file(settings.home, JoinTokenRequest(node or "", ttl or _JOIN_SECONDS)))
        dump(msgspec.to_builtins(join), "yaml" if output == TABLE else output)


@command.command()
@click.argument("user")
@output_option()
@mesh_options
@click.pass_obj
def revoke(settings: Settings, user: str, output: str) -> None:
    """End all bearer tokens of USER."""
    revoked = asyncio.run(_ask(settings.home, "DELETE", PATH, TokenRequest(user))).revoked
    if output != TABLE:
        dump({"revoked": revoked}, output)
    elif revoked:
        click.echo(f"{revoked} tokens of {user} are revoked")
    else:
        raise Missing(f"{user} has no tokens")


async def _join_file(home: Home, asked: JoinTokenRequest) -> JoinFile:
    answer = await _ask(home, "POST", JOIN_TOKENS, asked)
    async with open_api(home) as store:
        return JoinFile(store.connection.server, (home.api / "ca.pem").read_text(), asked.node, answer.token)


async def _ask(home: Home, method: str, path: str, asked: Any) -> TokenAnswer:
    async with open_api(home) as store:
        answer = await store.request(method, path, body=msgspec.to_builtins(asked))
    try:
        return msgspec.json.decode(answer.body, type=TokenAnswer)
    except msgspec.DecodeError as error:
        raise Unavailable(f"the control plane's answer cannot be read: {error}") from error
