"""`marline up`: start the mesh, then what application files describe."""

import asyncio
import sys
from pathlib import Path

import click
import msgspec

from marline.cli.exits import Failed
from marline.cli.options import Settings, mesh_options, seconds, timeout_option
from marline.cli.output import JSON, TABLE, YAML, emit, output_option
from marline.cli.progress import progress
from marline.cli.workloads import COLUMNS, complaints
from marline.node.application import Application, parse, with_interpreter
from marline.node.control import NodeClient
from marline.node.home import Home, agent_pid, load_config
from marline.node.lifecycle import StartSettings, start_detached
from marline.node.workload import WorkloadStatus

_FIXED = {
    "api_port": "--api-port",
    "trust_domain": "--trust-domain",
    "svid_ttl_seconds": "--svid-ttl",
    "plugin_ca": "--plugin-ca",
}


@click.command()
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="An application file to bring up; may be given several times. '-': standard input.",
)
@click.option(
    "--capture",
    type=click.Choice(("auto", "transparent", "explicit")),
    default=None,
    help="How traffic reaches the sidecars (default: auto, transparent where that is possible).",
)
@click.option("--api-port", type=click.IntRange(1, 65535), help="The API server's port on 127.0.0.1.")
@click.option("--trust-domain", metavar="NAME", help="Of all identities; fixed at the first start.")
@click.option(
    "--svid-ttl", metavar="DURATION", callback=seconds, help="How long certificates are valid (default: 24h)."
)
@click.option(
    "--plugin-ca",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    help="A directory with ca-cert.pem, ca-key.pem, root-cert.pem and cert-chain.pem, as in Istio.",
)
@click.option("--wait/--no-wait", default=True, help="Wait until all workloads are ready (the default).")
@timeout_option("60s")
@output_option(TABLE, JSON, YAML)
@mesh_options
@click.pass_obj
def command(
    settings: Settings,
    files: tuple[Path, ...],
    capture: str | None,
    api_port: int | None,
    trust_domain: str | None,
    svid_ttl: float | None,
    plugin_ca: str | None,
    wait: bool,
    timeout: float,
    output: str,
) -> None:
    """Start the mesh in the background, and bring up what application files describe.

    If the mesh is running already, only the applications are brought up: what is new in a file is started,
    what differs is replaced once its successor is ready, what is gone from it is stopped.

    An application file names services, their commands, ports, versions, probes and gateways.
    """
    applications = read_applications(files)
    wanted = StartSettings(capture or "auto", api_port, trust_domain, _whole(svid_ttl), plugin_ca)
    asyncio.run(_up(settings.home, wanted, capture, applications, timeout if wait else None, output))


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)


async def _up(
    home: Home,
    wanted: StartSettings,
    capture: str | None,
    applications: tuple[Application, ...],
    timeout: float | None,
    output: str,
) -> None:
    if agent_pid(home) is not None:
        check_unchanged(home, wanted, capture)
        click.echo(f"the mesh in {home.path} is running already", err=True)
    else:
        async with progress("starting the mesh"):
            notes = await start_detached(home, wanted)
        for note in notes:
            click.echo(f"note: {note}", err=True)
        click.echo(f"the mesh is running in {home.path}; kubeconfig: {home.kubeconfig}", err=True)
    client = NodeClient(home)
    workloads: tuple[WorkloadStatus, ...] = ()
    for application in applications:
        workloads = await client.up(application)
    if applications and timeout is not None:
        async with progress("waiting until all workloads are ready"):
            workloads = await client.wait(timeout)
    named = {application.name for application in applications}
    workloads = tuple(item for item in workloads if item.application in named)
    if workloads or output != TABLE:
        emit(workloads, COLUMNS, output)
    if timeout is not None and not all(item.ready for item in workloads):
        raise Failed(f"not all workloads are ready:\n{complaints(workloads)}")


def check_unchanged(home: Home, wanted: StartSettings, capture: str | None) -> None:
    """Raises `Failed` if a running mesh would have to be another one."""
    config = load_config(home)
    if config is None:
        return
    asked = {"capture": None if capture == "auto" else capture}
    asked |= {name: getattr(wanted, name) for name in _FIXED}
    for name, value in asked.items():
        if value is not None and value != getattr(config, name):
            option = _FIXED.get(name, "--capture")
            raise Failed(
                f"the mesh in {home.path} runs with {option} {getattr(config, name)}; "
                "`marline down` first, then start it anew"
            )


def read_applications(files: tuple[Path, ...]) -> tuple[Application, ...]:
    """Parse application files. Raises `InvalidResource`, and `Failed` for what is none."""
    found: dict[str, Path] = {}
    applications = []
    for file in files:
        application = read_application(file)
        if application.name in found:
            raise Failed(
                f"{found[application.name]} and {file} are both called {application.name!r}; "
                "give one of them another `name`"
            )
        found[application.name] = file
        applications.append(application)
    return tuple(applications)


def read_application(file: Path) -> Application:
    """One file. Its commands run in its own directory, wherever the agent was started."""
    standard_input = str(file) == "-"
    try:
        text = sys.stdin.read() if standard_input else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"{file} cannot be read: {error}") from error
    kind = resource_kind(text)
    if kind:
        raise Failed(
            f"{file} is not an application file but a Kubernetes resource ({kind}); "
            f"`marline apply -f {file}` takes it once the mesh is up"
        )
    application = parse(text, str(file), "application" if standard_input else file.stem)
    application = with_interpreter(application, sys.executable)
    return in_directory(application, Path.cwd() if standard_input else file.absolute().parent)


def in_directory(application: Application, base: Path) -> Application:
    """The application with absolute working directories."""
    workloads = tuple(
        msgspec.structs.replace(
            item,
            spec=msgspec.structs.replace(
                item.spec, working_directory=str(base / item.spec.working_directory)
            ),
        )
        for item in application.workloads
    )
    return msgspec.structs.replace(application, workloads=workloads)


def resource_kind(text: str) -> str:
    """The kind of the first Kubernetes resource in a YAML text, or ""."""
    import yaml

    try:
        for document in yaml.safe_load_all(text):
            if isinstance(document, dict) and "apiVersion" in document and "kind" in document:
                return str(document["kind"])
    except yaml.YAMLError:
        return ""  # the parser of application files says what is wrong
    return ""
