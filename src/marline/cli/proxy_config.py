"""`marline proxy-config`: what a proxy of this machine has been told, asked of its Envoy."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import click

from marline.cli import envoy_clusters, envoy_endpoints, envoy_listeners, envoy_routes
from marline.cli.completing import complete_workload
from marline.cli.envoy_dump import Dump, Object, ask_dump, ask_json
from marline.cli.mesh import running_workloads
from marline.cli.options import Settings, mesh_options
from marline.cli.output import JSON, TABLE, WIDE, YAML, Column, dump, emit, grid, output_option
from marline.cli.workloads import choose_workload
from marline.node.admin import Admin
from marline.node.home import Home

Answer = TypeVar("Answer")
Command = TypeVar("Command", bound=Callable[..., Any])

_direction = click.option(
    "--direction", type=click.Choice(("inbound", "outbound")), help="Only of this direction."
)
_port = click.option("--port", type=int, help="Only of this port.")
_fqdn = click.option("--fqdn", default="", metavar="HOST", help="Only of services with this in their names.")
_subset = click.option("--subset", default="", metavar="NAME", help="Only of this subset.")


@click.group()
def command() -> None:
    """Show the configuration that a proxy of this machine has, as its Envoy says.

    Each command takes NAME: a workload's name or its beginning, or a service's name if it has one workload
    here. JSON and YAML are Envoy's own form; private keys are never shown.
    """


def _proxy_command(*forms: str) -> Callable[[Command], Command]:
    """What the commands of this group have in common."""

    def decorate(function: Command) -> Command:
        named = click.argument("name", shell_complete=complete_workload)(function)
        return output_option(*forms)(mesh_options(_with_settings(named)))

    return decorate


def _with_settings(function: Command) -> Command:
    return cast(Command, click.pass_obj(function))


def _ask(settings: Settings, name: str, question: Callable[[Admin], Awaitable[Answer]]) -> Answer:
    """Ask the Envoy of a workload. Raises `NodeError`s, `AdminError` and `click.ClickException`s."""

    async def ask(home: Home) -> Answer:
        workload = choose_workload(name, await running_workloads(home))
        return await question(Admin(home.workload(workload.id).admin_socket))

    return asyncio.run(ask(settings.home))


def _show(rows: Iterable[Any], columns: Sequence[Column[Any]], output: str) -> None:
    """Rows as a table, or what Envoy says of them, each resource once."""
    found = list(rows)
    if output in (TABLE, WIDE):
        emit(found, columns, output, empty="there is none that fits")
        return
    dump(list({id(row.source): row.source for row in found}.values()), output)


@command.command("cluster", help="Show the clusters of the proxy NAME: what it can send to.")
@_fqdn
@_port
@_subset
@_direction
@_proxy_command(TABLE, JSON, YAML)
def cluster(
    settings: Settings,
    name: str,
    output: str,
    fqdn: str,
    port: int | None,
    subset: str,
    direction: str | None,
) -> None:
    rows = envoy_clusters.cluster_rows(_ask(settings, name, ask_dump).clusters())
    chosen = (row for row in rows if row.fits(fqdn, port, subset, direction or ""))
    _show(chosen, envoy_clusters.COLUMNS, output)


@command.command("listener", help="Show where the proxy NAME listens.")
@click.option("--address", default="", metavar="ADDRESS", help="Only at this address.")
@_port
@_direction
@_proxy_command(TABLE, JSON, YAML)
def listener(
    settings: Settings, name: str, output: str, address: str, port: int | None, direction: str | None
) -> None:
    rows = envoy_listeners.listener_rows(_ask(settings, name, ask_dump).listeners())
    chosen = (row for row in rows if row.fits(address, port, direction or ""))
    _show(chosen, envoy_listeners.COLUMNS, output)


@command.command("route", help="Show how the proxy NAME routes requests.")
@click.option("--name", "config", default="", metavar="ROUTE", help="Only of this route configuration.")
@click.option("--host", default="", metavar="HOST", help="Only for domains with this in their names.")
@_proxy_command(TABLE, JSON, YAML)
def route(settings: Settings, name: str, output: str, config: str, host: str) -> None:
    rows = envoy_routes.route_rows(_ask(settings, name, ask_dump).route_configs())
    _show((row for row in rows if row.fits(config, host)), envoy_routes.COLUMNS, output)


@command.command("endpoint", help="Show the addresses that the proxy NAME sends to, and how they do.")
@click.option("--cluster", "of", default="", metavar="NAME", help="Only of this cluster.")
@_fqdn
@_port
@_subset
@click.option("--status", default="", metavar="STATUS", help="Only with this status, such as healthy.")
@_proxy_command(TABLE, JSON, YAML)
def endpoint(
    settings: Settings,
    name: str,
    output: str,
    of: str,
    fqdn: str,
    port: int | None,
    subset: str,
    status: str,
) -> None:
    async def ask(admin: Admin) -> Object:
        return await ask_json(admin, "/clusters?format=json")

    rows = envoy_endpoints.endpoint_rows(_ask(settings, name, ask))
    chosen = (row for row in rows if row.fits(of, fqdn, port, subset, status))
    _show(chosen, envoy_endpoints.COLUMNS, output)


@command.command("secret", help="Show the certificates that the proxy NAME has; never a key.")
@_proxy_command(TABLE, WIDE, JSON, YAML)
def secret(settings: Settings, name: str, output: str) -> None:
    from marline.cli.envoy_secrets import secret_columns, secret_rows  # certificates take a while to import

    rows = secret_rows(_ask(settings, name, ask_dump).secrets())
    emit(rows, secret_columns(datetime.now(UTC)), output, empty="there is none")


@command.command("bootstrap", help="Show with what the Envoy of the proxy NAME was started.")
@_proxy_command(TABLE, JSON, YAML)
def bootstrap(settings: Settings, name: str, output: str) -> None:
    found: Dump = _ask(settings, name, ask_dump)
    if output == TABLE:
        click.echo(grid(summary(found.bootstrap)))
    else:
        dump(found.bootstrap, output)


def summary(bootstrap: Object) -> list[tuple[str, str]]:
    """What one wants to know of a bootstrap first."""
    node = bootstrap.get("node", {})
    version = node.get("user_agent_build_version", {}).get("version", {})
    number = ".".join(str(version.get(part, 0)) for part in ("major_number", "minor_number", "patch"))
    static = bootstrap.get("static_resources", {}).get("clusters", ())
    sources = bootstrap.get("dynamic_resources", {})
    return [
        ("Node", str(node.get("id", ""))),
        ("Cluster", str(node.get("cluster", ""))),
        ("Envoy", number),
        ("Configuration by", str(sources.get("ads_config", {}).get("api_type", "-"))),
        ("Static clusters", ", ".join(str(item["name"]) for item in static)),
    ]
