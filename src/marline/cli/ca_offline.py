"""`marline ca make-root`, `request`, `sign` and `import`: a root whose key is never where the mesh is."""

import asyncio
import time
from pathlib import Path
from typing import TextIO

import click

from marline.cli.ca import ask, rotated
from marline.cli.mesh import open_api
from marline.cli.options import Settings, mesh_options
from marline.identity import ca_offline
from marline.identity.ca_checks import read_certificates
from marline.identity.ca_status import CaRequest
from marline.node.home import Home, agent_pid, load_config


@click.command("make-root")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--trust-domain", default="cluster.local", show_default=True)
def make_root(directory: Path, trust_domain: str) -> None:
    """Make a root and its key in DIRECTORY, on a machine that is kept for that."""
    ca_offline.make_root(directory, trust_domain, time.time())
    click.echo(f"made {directory / 'root.pem'} and its key, for the trust domain {trust_domain}")


@click.command()
@mesh_options
@click.pass_obj
def request(settings: Settings) -> None:
    """Print a request for the certificate with which the mesh signs workloads.

    Its key stays in the mesh's directory. Have it signed with `marline ca sign`, and bring the answer back
    with `marline ca import`.
    """
    settings.home.create()
    click.echo(ca_offline.make_request(settings.home.ca), nl=False)


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, exists=True))
@click.argument("csr", type=click.File("r"))
def sign(directory: Path, csr: TextIO) -> None:
    """Sign the request in the file CSR (-: standard input) with the root in DIRECTORY; print the answer."""
    click.echo(ca_offline.sign_request(directory, csr.read(), time.time()), nl=False)


@click.command("import")
@click.argument("answer", type=click.Path(path_type=Path, exists=True))
@mesh_options
@click.pass_obj
def import_(settings: Settings, answer: Path) -> None:
    """Use what was signed: the certificate and its root, in the file ANSWER.

    Before the first `marline up` it becomes the mesh's authority. Later it replaces the certificate that
    signs; if another root has signed it, the root is changed, in the phases of `marline ca rotate-root`.
    """
    home = settings.home
    home.create()
    config = load_config(home)
    root = read_certificates(answer)[-1]
    trust_domain = config.trust_domain if config else ca_offline.trust_domain_of(answer, root)
    begun = ca_offline.import_signed(home.ca, answer, trust_domain, time.time())
    if agent_pid(home):
        asyncio.run(_reload(home))
    elif begun:
        click.echo("the root is changed once the mesh runs again", err=True)
    click.echo(f"{answer} is in use")


async def _reload(home: Home) -> None:
    async with open_api(home) as store:
        await rotated(store, await ask(store, CaRequest("reload")))
