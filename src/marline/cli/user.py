"""`marline user`: kubeconfigs for people and programs that use the API."""

import asyncio
import sys
from pathlib import Path

import click
import msgspec

from marline.cli.exits import Failed
from marline.cli.join import decode_certificate
from marline.cli.mesh import open_api
from marline.cli.options import Settings, mesh_options, seconds
from marline.identity.svid import key_pem, make_csr, make_key
from marline.node.home import Home
from marline.store.embedded.credentials import KeyPair, write_kubeconfig
from marline.store.tokens import CERTIFICATES, CertificateRequest


@click.group()
def command() -> None:
    """Make kubeconfigs for other users of the API."""


@command.command()
@click.argument("name")
@click.option("-g", "--group", "groups", multiple=True, metavar="GROUP", help="A group that the user is in.")
@click.option(
    "--ttl", metavar="DURATION", callback=seconds, default="24h", show_default=True,
    help="How long the certificate is valid; it cannot be revoked before.",
)  # fmt: skip
@click.option("--kubeconfig", type=click.Path(path_type=Path), required=True, help="The file to write.")
@mesh_options
@click.pass_obj
def create(settings: Settings, name: str, groups: tuple[str, ...], ttl: float, kubeconfig: Path) -> None:
    """Write a kubeconfig for the user NAME.

    What NAME may do, roles say: bind one, such as view, edit or admin, with `kubectl create rolebinding`.
    """
    asyncio.run(_create(settings.home, name, groups, ttl, kubeconfig))
    click.echo(f"{kubeconfig} is for {name}", file=sys.stderr)


async def _create(home: Home, name: str, groups: tuple[str, ...], ttl: float, file: Path) -> None:
    key = make_key()
    asked = CertificateRequest(name, make_csr(key), groups, ttl)
    async with open_api(home) as store:
        answer = await store.request("POST", CERTIFICATES, body=msgspec.to_builtins(asked))
        server = store.connection.server
    pair = KeyPair(decode_certificate(answer.body), key_pem(key).encode())
    try:
        write_kubeconfig(file, server, (home.api / "ca.pem").read_bytes(), pair)
    except OSError as error:
        raise Failed(f"{error.filename}: {error.strerror}") from error
