"""`marline join`: become a node of a mesh, with what `marline token create --node` has printed."""

import asyncio
import ssl
import sys
from pathlib import Path

import click
import msgspec

from marline.cli.exits import Failed
from marline.cli.options import mesh_options
from marline.identity.svid import key_pem, make_csr, make_key
from marline.store.embedded.credentials import KeyPair, write_kubeconfig
from marline.store.interface import Unavailable
from marline.store.remote.client import RemoteStore
from marline.store.remote.kubeconfig import Connection
from marline.store.tokens import JOIN, CertificateAnswer, JoinRequest


class JoinFile(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """All that a node needs to join. It holds a secret, until that is used."""

    server: str
    certificate_authority: str
    """PEM: what the server's certificate is checked against, before anything is sent."""
    node: str
    token: str


@click.command()
@click.argument("file", type=click.Path(exists=True, allow_dash=True, path_type=Path))
@click.option("--kubeconfig", type=click.Path(path_type=Path), required=True, help="The file to write.")
@mesh_options
def command(file: Path, kubeconfig: Path) -> None:
    """Have this node's certificate signed, and write a kubeconfig with it.

    FILE, or with - the standard input, is what `marline token create --node NAME` has printed. The key is
    made here and does not leave this machine.
    """
    text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        join = msgspec.yaml.decode(text, type=JoinFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # What cannot be read may hold the token all the same, so the message says nothing of the content.
        raise Failed(f"{file} is not what `marline token create --node` prints") from error
    key = make_key()
    certificate = asyncio.run(_join(join, make_csr(key)))
    authority = join.certificate_authority.encode()
    write_kubeconfig(kubeconfig, join.server, authority, KeyPair(certificate, key_pem(key).encode()))
    click.echo(f"this is node {join.node}; its kubeconfig is {kubeconfig}")


async def _join(join: JoinFile, csr: str) -> bytes:
    try:
        tls = ssl.create_default_context(cadata=join.certificate_authority)
    except ssl.SSLError as error:
        raise Failed(f"certificateAuthority cannot be used: {error}") from error
    asked = JoinRequest(join.node, join.token, csr)
    async with RemoteStore(Connection(join.server, tls=tls)) as store:
        answer = await store.request("POST", JOIN, body=msgspec.to_builtins(asked))
    return decode_certificate(answer.body)


def decode_certificate(body: bytes) -> bytes:
    """What the control plane has signed, PEM. Raises `Unavailable`."""
    try:
        return msgspec.json.decode(body, type=CertificateAnswer).certificate.encode()
    except msgspec.DecodeError as error:
        raise Unavailable(f"the control plane's answer cannot be read: {error}") from error
