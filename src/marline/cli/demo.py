"""`marline demo`: a mesh at work with Bookinfo, started, shown and removed by one command."""

from typing import Final

import click

from marline.cli.options import Settings, mesh_options
from marline.cli.output import JSON, TABLE, YAML, output_option

_LEAST_REQUESTS: Final = 20
"""So that one of the two versions of reviews that call ratings gets some, but for one time in billions."""


@click.command()
@click.option("--smoke", is_flag=True, help="Send some requests, print what was seen as JSON, and end.")
@click.option(
    "--requests",
    type=click.IntRange(_LEAST_REQUESTS, 1_000_000),
    default=50,
    show_default=True,
    help="How many requests --smoke sends.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="The ingress gateway's port on 127.0.0.1; 0: a free one.",
)
@click.option(
    "--capture",
    type=click.Choice(("auto", "transparent", "explicit")),
    default="auto",
    show_default=True,
    help="How traffic reaches the sidecars.",
)
@output_option(TABLE, JSON, YAML)
@mesh_options
@click.pass_context
def command(context: click.Context, smoke: bool, requests: int, port: int, capture: str, output: str) -> None:
    """Start a mesh with Istio's Bookinfo, send it a little traffic, and show both until Ctrl-C.

    Six programs run, each behind its own Envoy, and an ingress gateway; open the address that is shown in a
    browser. At the end everything is stopped. Unless --home or MARLINE_HOME says where the mesh is to be, it
    is in a temporary directory, and nothing is left behind.

    With --smoke: a number of requests, a JSON summary on stdout, and exit code 1 if one of them failed or if
    services did not call one another over mutual TLS. With -o json there is one JSON document on each line.
    """
    from marline.cli.demo_run import Options, run  # `--help` does without

    settings = context.ensure_object(Settings)
    context.exit(run(settings, Options(smoke, requests, port, capture, output)))
