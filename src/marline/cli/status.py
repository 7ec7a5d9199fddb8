"""`marline status`: every workload with its identity and its proxy's state, and the traffic between them."""

import click

from marline.cli.options import Settings, mesh_options
from marline.cli.output import JSON, TABLE, WIDE, YAML, output_option


@click.command()
@click.option("-w", "--watch", is_flag=True, help="Keep showing, once a second, until Ctrl-C.")
@output_option(TABLE, WIDE, JSON, YAML)
@mesh_options
@click.pass_obj
def command(settings: Settings, watch: bool, output: str) -> None:
    """Show every workload of this machine, its identity, its proxy's state, and who calls whom.

    Requests per second are those of the last second (with --watch: of the last ten). Successes are
    answers other than 5xx. Requests, successes and latencies are as the caller's proxy sees them; identities
    are those that the other end has verified. -o wide shows those of each pair, too.

    With --watch and -o json there is one JSON document on each line.
    """
    from marline.cli.status_run import once, until_interrupted  # `--help` does without

    (until_interrupted if watch else once)(settings.home, output)
