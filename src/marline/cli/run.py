"""`marline run`: one program in the foreground, behind its own sidecar, as a workload of the running mesh."""

import asyncio
import logging
import signal
from typing import Final

import click

from marline.cli.exits import ExitCode
from marline.cli.options import Settings, mesh_options
from marline.cli.progress import progress
from marline.cli.workload_flags import WorkloadFlags, workload_spec
from marline.node.connect import open_machine
from marline.node.errors import NotRunning
from marline.node.home import Home, load_config
from marline.node.lifecycle import require_running
from marline.node.machine import ended
from marline.node.runner import WorkloadRunner
from marline.node.workload import WorkloadSpec, WorkloadStatus

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command(context_settings={"allow_interspersed_args": False})
@click.option(
    "--service",
    default="",
    metavar="NAME",
    help="The service that it is an instance of (without --port: the name of the program, unless given).",
)
@click.option("--version", metavar="VERSION", default="", help="Its label 'version', for subsets.")
@click.option(
    "--port",
    "ports",
    multiple=True,
    metavar="NAME:PORT[:TARGET]",
    help="A port that it serves, such as http:9080; the name says the protocol, as in Istio. TARGET: where "
    "the program listens; without it, it is told in the variable PORT.",
)
@click.option("-n", "--namespace", default="default", show_default=True, metavar="NAMESPACE")
@click.option("--service-account", default="", metavar="NAME", help="Its identity (default: the service).")
@click.option(
    "--upstream",
    "upstreams",
    multiple=True,
    metavar="[NAME=]HOST:PORT",
    help="A service that it calls; the program is told where in <HOST>_URL, _HOST and _PORT, or <NAME>_URL …",
)
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label of the workload.")
@click.option("--env", "environment", multiple=True, metavar="KEY=VALUE", help="An environment variable.")
@click.option("--readiness-http", metavar="[PORT]/PATH", help="Ready when this answers with 2xx or 3xx.")
@click.option("--readiness-tcp", metavar="PORT", help="Ready when this port accepts connections.")
@click.option("--readiness-grpc", metavar="PORT[/SERVICE]", help="Ready when gRPC health says SERVING.")
@click.option("--readiness-exec", metavar="COMMAND", help="Ready when this command ends with 0.")
@click.option("--name", default="", metavar="NAME", help="The workload's name (default: one is made).")
@click.option("--user", default="", metavar="USER", help="Run the program as this user (needs root).")
@click.option("--locality", default="", metavar="REGION[/ZONE[/SUBZONE]]", help="Where it is.")
@click.option("--weight", default=0, type=click.IntRange(0, 2**32 - 1), help="Its share of the load.")
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND...")
@mesh_options
@click.pass_context
def command(context: click.Context, /, **flags: object) -> None:
    """Run COMMAND as a workload of the running mesh, behind its own Envoy.

    Ends with the exit code of COMMAND (128 and the signal's number if a signal ended it). The first Ctrl-C or
    SIGTERM ends it in order: no new requests, those under way finished, then the program, then its proxy; the
    second one at once.
    """
    spec = workload_spec(WorkloadFlags(**flags))  # type: ignore[arg-type]
    settings = context.ensure_object(Settings)
    logging.basicConfig(level=logging.WARNING, format="marline: %(message)s")
    context.exit(asyncio.run(_run(settings.home, spec)))


async def _run(home: Home, spec: WorkloadSpec) -> int:
    await require_running(home)
    config = load_config(home)
    if config is None:
        raise NotRunning(str(home.path))
    async with open_machine(home, config, owner=False) as machine:
        runner = WorkloadRunner(machine, spec, foreground=True)
        received = _end_on_signals(runner)
        announcing = asyncio.create_task(_announce(runner, config.cluster_domain), name="announce")
        try:
            code = await runner.run()
        except asyncio.CancelledError:
            if not received:
                raise
            code = None
        finally:
            await ended(announcing)
    return exit_code(code, received)


def _end_on_signals(runner: WorkloadRunner) -> list[signal.Signals]:
    """The first signal ends the runner in order, the next one cancels this task. Returns what was
    received, as it comes."""
    received: list[signal.Signals] = []
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()

    def take(number: signal.Signals) -> None:
        received.append(number)
        if len(received) == 1:
            click.echo(f"marline: ending {runner.status.name}", err=True)
            runner.stop()
        elif task is not None:
            task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, take, number)
    return received


async def _announce(runner: WorkloadRunner, cluster_domain: str) -> None:
    """Say where the workload is reachable, once it is; who only calls others has the output to itself."""
    async with progress(f"starting {runner.status.name}"):
        await runner.ready.wait()
    if runner.spec.ports:
        click.echo(f"marline: {announcement(runner.status, runner.spec, cluster_domain)}", err=True)


def announcement(status: WorkloadStatus, spec: WorkloadSpec, cluster_domain: str) -> str:
    """One line about a workload that is ready and serves a port."""
    host = f"{status.service}.{status.namespace}.svc.{cluster_domain}"
    reached = ", ".join(f"{host}:{port.port}" for port in spec.ports)
    return f"{status.name} is ready; reached in the mesh as {reached}; identity {status.spiffe_id}"


def exit_code(code: int | None, received: list[signal.Signals]) -> int:
    """What the shell is told: 130 after Ctrl-C, else what became of the program."""
    if received and received[0] is signal.SIGINT:
        return ExitCode.INTERRUPTED
    if code is None:
        return 128 + received[0] if received else ExitCode.FAILED
    return code if code >= 0 else 128 - code
