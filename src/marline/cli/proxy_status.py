"""`marline proxy-status`: which proxies have their newest configuration, and what they refuse."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import click

from marline.cli.completing import complete_workload
from marline.cli.exits import Missing
from marline.cli.mesh import connected_proxies, open_api
from marline.cli.options import Settings, mesh_options
from marline.cli.output import TABLE, Column, bad, doubtful, dump, good, output_option, table
from marline.node.home import Home
from marline.store.spans import human_duration
from marline.xds.status import REJECTED, SYNCED, ProxyStatus, TypeStatus

_TYPES: Final = {
    "CDS": "envoy.config.cluster.v3.Cluster",
    "EDS": "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "LDS": "envoy.config.listener.v3.Listener",
    "RDS": "envoy.config.route.v3.RouteConfiguration",
    "VHDS": "envoy.config.route.v3.VirtualHost",
    "SDS": "envoy.extensions.transport_sockets.tls.v3.Secret",
}
"""What Envoy's documentation calls the discovery of each type ("xDS configuration API overview")."""
_SHORT: Final = {url: name for name, url in _TYPES.items()}


@click.command()
@click.argument("name", required=False, shell_complete=complete_workload)
@output_option()
@mesh_options
@click.pass_obj
def command(settings: Settings, name: str | None, output: str) -> None:
    """Show which connected proxies have their newest configuration; of all, or those called NAME.

    NAME is a workload's name, or its beginning. For each type of configuration a proxy is SYNCED if it has
    acknowledged all that it should have, PENDING while it has not, and REJECTED if it refused something: then
    that is shown in Envoy's words, and the proxy keeps the last version that it took.
    """
    proxies = asyncio.run(_proxies(settings.home))
    chosen = called(name, proxies)
    if output != TABLE:
        dump(chosen, output)
    elif not chosen:
        click.echo("no proxy is connected", err=True)
    else:
        click.echo(render(chosen, time.time()))


async def _proxies(home: Home) -> tuple[ProxyStatus, ...]:
    async with open_api(home) as store:
        return (await connected_proxies(store)).proxies


def called(name: str | None, proxies: Sequence[ProxyStatus]) -> Sequence[ProxyStatus]:
    """The proxies that a user means. Raises `Missing` if there are none."""
    if name is None:
        return proxies
    exact = [item for item in proxies if name in (item.name, item.node_id, f"{item.name}.{item.namespace}")]
    found = exact or [item for item in proxies if item.name.startswith(name)]
    if not found:
        known = ", ".join(item.name for item in proxies) or "none"
        raise Missing(f"no proxy of a workload {name!r} is connected; connected: {known}")
    return found


def render(proxies: Sequence[ProxyStatus], now: float) -> str:
    """Proxies as a table, and below it what they refuse."""
    columns = (
        Column[ProxyStatus]("NAMESPACE", lambda item: item.namespace),
        Column[ProxyStatus]("NAME", lambda item: item.name),
        Column[ProxyStatus]("ROLE", lambda item: item.role),
        Column[ProxyStatus]("STATE", lambda item: _colour(item.state)(item.state)),
        *(Column(name, _cell_of(url)) for name, url in _TYPES.items()),
        Column[ProxyStatus]("CONNECTED", lambda item: human_duration(now - item.connected_at)),
        Column[ProxyStatus]("NODE", lambda item: item.node_id),
    )
    rejections = [
        f"\n{bad(item.name)} refuses the {_short(one.type_url)} resource {one.name}:\n  {one.message}"
        for item in proxies
        for one in item.rejections
    ]
    return "\n".join([table(proxies, columns), *rejections])


def _cell_of(url: str) -> Callable[[ProxyStatus], str]:
    def cell(item: ProxyStatus) -> str:
        found = next((one for one in item.types if _type_name(one.type_url) == url), None)
        return _sync(found) if found else "-"

    return cell


def _sync(status: TypeStatus) -> str:
    count = (
        str(status.acknowledged)
        if status.acknowledged == status.subscribed
        else f"{status.acknowledged}/{status.subscribed}"
    )
    return _colour(status.state)(f"{status.state} {count}")


def _colour(state: str) -> Callable[[str], str]:
    return good if state == SYNCED else bad if state == REJECTED else doubtful


def _type_name(type_url: str) -> str:
    return type_url.rpartition("/")[2]


def _short(type_url: str) -> str:
    return _SHORT.get(_type_name(type_url), type_url)
