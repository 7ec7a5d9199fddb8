"""`marline authn`: for each pair of services, how calls are secured and which resource decides that."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import msgspec

from marline.cli.completing import complete_workload
from marline.cli.described_mesh import application_option, mesh_of_files
from marline.cli.exits import Missing
from marline.cli.explain_mesh import KnownMesh, located, proxies_called, running_mesh
from marline.cli.files import file_option, recursive_option
from marline.cli.options import Settings, mesh_options
from marline.cli.output import JSON, TABLE, YAML, Column, bad, doubtful, emit, good, output_option
from marline.explain.authentication import Link, links
from marline.explain.origin import Place
from marline.mesh.model import Proxy

_SENT: Final = {"mtls": "mutual TLS", "tls": "TLS", "plain": "plain text"}


@click.command()
@click.argument("client", required=False, shell_complete=complete_workload)
@click.argument("service", required=False)
@file_option
@recursive_option
@application_option
@output_option(TABLE, JSON, YAML)
@mesh_options
@click.pass_obj
def command(
    settings: Settings,
    client: str | None,
    service: str | None,
    files: tuple[Path, ...],
    recursive: bool,
    applications: tuple[Path, ...],
    output: str,
) -> None:
    """Show how calls between services are secured, and which resources decide it.

    Of all clients to all services that they see, of the workload CLIENT only, or to one SERVICE. A client
    calls as a DestinationRule says, and without one as the server takes it; what the server takes is said by
    a PeerAuthentication, and without one it is STRICT: mutual TLS only. A table has one line for clients and
    servers that are told the same; json and yaml have one entry for each pair of workloads.
    """
    if files or applications:
        mesh = asyncio.run(mesh_of_files(files, applications, recursive=recursive))
    else:
        mesh = asyncio.run(running_mesh(settings.home))
    clients = proxies_called(mesh, client) if client else mesh.proxies
    host = _hostname(mesh, service, clients) if service else ""
    found = [
        msgspec.structs.replace(
            item,
            sent_by=located(item.sent_by, mesh.documents),
            mode_by=located(item.mode_by, mesh.documents),
        )
        for item in links(mesh.snapshot, mesh.proxies, clients, host)
    ]
    if output != TABLE:
        emit(found, (), output)
    else:
        emit(summary(found), _COLUMNS, empty="no proxy is connected that calls anything")


def _hostname(mesh: KnownMesh, service: str, clients: Sequence[Proxy]) -> str:
    """Raises `Missing`."""
    namespaces = dict.fromkeys(item.workloads[0].namespace for item in clients)
    for namespace in namespaces or ("default",):
        host = mesh.snapshot.resolve_host(service, namespace)
        if host in mesh.snapshot.services:
            return host
    raise Missing(f"no service {service!r}; there are: {', '.join(sorted(mesh.snapshot.services)) or 'none'}")


@dataclass(frozen=True, slots=True)
class Row:
    """Links that are alike."""

    link: Link
    clients: str
    server: str


def summary(found: Sequence[Link]) -> Iterator[Row]:
    """Links of one port that are alike, as one row."""
    everybody = _names(item.client for item in found)
    groups: dict[tuple[object, ...], list[Link]] = {}
    serving: dict[tuple[str, int], dict[str, None]] = {}
    for item in found:
        said = (item.sent, item.sent_by, item.mode, item.mode_by, item.accepted)
        key = (item.service, item.port, item.subset, *said)
        groups.setdefault(key, []).append(item)
        serving.setdefault((item.service, item.port), {})[item.server] = None
    for alike in groups.values():
        first = alike[0]
        clients, servers = _names(item.client for item in alike), _names(item.server for item in alike)
        subset = f" subset {first.subset}" if first.subset else ""
        some = first.subset or len(servers) == len(serving[first.service, first.port])
        which = "" if some else f" ({', '.join(servers)})"
        told = "all" if len(clients) == len(everybody) > 1 else ", ".join(clients)
        yield Row(first, told, f"{first.service}:{first.port}{subset}{which}")


def _names(found: Iterable[str]) -> list[str]:
    return sorted(dict.fromkeys(found))


def _sent(row: Row) -> str:
    colour = good if row.link.sent == "mtls" else doubtful
    return colour(_SENT[row.link.sent])


def _taken(row: Row) -> str:
    return "yes" if row.link.accepted else bad(f"no: {row.link.text}")


def _said(place: Place | None, default: str) -> str:
    return f"{place.text}" if place is not None else default


_COLUMNS: Final = (
    Column[Row]("CLIENTS", lambda row: row.clients),
    Column[Row]("SERVICE", lambda row: row.server),
    Column[Row]("CALLED WITH", _sent),
    Column[Row]("BECAUSE OF", lambda row: _said(row.link.sent_by, "(automatic)")),
    Column[Row]("SERVER TAKES", lambda row: row.link.mode or "-"),
    Column[Row]("BECAUSE OF", lambda row: _said(row.link.mode_by, "(default)") if row.link.mode else ""),
    Column[Row]("ACCEPTED", _taken),
)
