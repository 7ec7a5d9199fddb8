"""`marline explain`: what would happen to a request now, and why."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import msgspec

from marline.api.documents import Document
from marline.api.resource import Ref
from marline.cli.completing import complete_workload
from marline.cli.described_mesh import application_option, imagined_proxy, mesh_of_files
from marline.cli.envoy_dump import ask_json
from marline.cli.envoy_endpoints import endpoint_rows
from marline.cli.exits import ExitCode
from marline.cli.explain_mesh import (
    choose_proxy,
    lines_of,
    located,
    running_mesh,
)
from marline.cli.explain_text import render
from marline.cli.files import file_option, recursive_option
from marline.cli.mesh import running_workloads
from marline.cli.options import Settings, mesh_options
from marline.cli.output import JSON, TABLE, YAML, dump, output_option
from marline.cli.request_headers import header_option, header_pairs
from marline.explain.delivery import Observed
from marline.explain.journey import explain
from marline.explain.steps import Explanation, Fate
from marline.explain.target import MalformedTarget, Target, parse_target
from marline.explain.view import CompiledView
from marline.mesh.model import Proxy
from marline.node.admin import Admin
from marline.node.errors import AdminError, NotRunning
from marline.node.home import Home

_CODES = {
    Fate.ANSWERED: ExitCode.OK,
    Fate.REFUSED: ExitCode.FAILED,
    Fate.UNKNOWN: ExitCode.CANNOT_TELL,
}


@click.command()
@click.argument("source", metavar="SRC", shell_complete=complete_workload)
@click.argument("destination", metavar="DST")
@click.argument("method", metavar="[METHOD]", required=False, default="GET")
@click.argument("path", metavar="[PATH]", required=False)
@header_option
@file_option
@recursive_option
@application_option
@click.option("-n", "--namespace", default="default", show_default=True, help="Of SRC, with --filename.")
@click.option(
    "-l", "--labels", default="", metavar="LABELS", help="Of SRC, with --filename: app=web,version=v1."
)
@click.option("--gateway", is_flag=True, help="With --filename: SRC is a gateway.")
@output_option(TABLE, JSON, YAML)
@mesh_options
@click.pass_obj
def command(
    settings: Settings,
    source: str,
    destination: str,
    method: str,
    path: str | None,
    headers: tuple[str, ...],
    files: tuple[Path, ...],
    recursive: bool,
    applications: tuple[Path, ...],
    namespace: str,
    labels: str,
    gateway: bool,
    output: str,
) -> int:
    """Tell what would happen to a request from the workload SRC to DST, and why.

    DST is a host, HOST:PORT or a URL; with tcp:// a connection of which no proxy reads a request. If SRC is
    a gateway, the request is one that comes to it. With --filename or --application the mesh is what the
    files describe, and nothing has to run.

    The answer is read from the configuration that the proxies are given. Exit code 0: somebody answers; 1:
    the request is refused or fails, at least a share of it; 5: it depends on something that cannot be
    evaluated.
    """
    target = _target(destination, method, path, headers)
    if files or applications:
        mesh = asyncio.run(mesh_of_files(files, applications, recursive=recursive))
        if applications and not labels and not gateway:
            proxy = choose_proxy(mesh, source)
        else:
            proxy = imagined_proxy(mesh, source, namespace, _pairs(labels, "=", "--labels"), gateway=gateway)
        observed: Observed = {}
    else:
        if labels or gateway:
            raise click.UsageError("--labels and --gateway describe a workload of files; give --filename")
        mesh = asyncio.run(running_mesh(settings.home))
        proxy = choose_proxy(mesh, source)
        observed = asyncio.run(_observed(settings.home, proxy))
    found = explain(CompiledView.of(mesh.snapshot, proxy), mesh.proxies, target, observed)
    documents = (
        mesh.documents
        if files
        else asyncio.run(lines_of(settings.home, (place.resource for place in found.places())))
    )
    found = _with_lines(found, documents)
    if output == TABLE:
        click.echo(render(found))
    else:
        dump({**msgspec.to_builtins(found), "fate": found.fate.value}, output)
    return _CODES[found.fate]


def _target(destination: str, method: str, path: str | None, headers: Sequence[str]) -> Target:
    """Raises `click.UsageError`."""
    if method.startswith("/") and path is None:
        method, path = "GET", method
    pairs = tuple(header_pairs(headers))
    try:
        return parse_target(destination, method, path, pairs)
    except MalformedTarget as error:
        raise click.UsageError(str(error)) from error


def _pairs(text: str, separator: str, option: str) -> dict[str, str]:
    found = {}
    for item in filter(None, text.split(",")):
        name, present, value = item.partition(separator)
        if not present:
            raise click.UsageError(f"{option}: {item!r} is not NAME{separator}VALUE")
        found[name.strip()] = value.strip()
    return found


async def _observed(home: Home, proxy: Proxy) -> Observed:
    """Which endpoints the source's Envoy leaves out now. Of a proxy on another machine nothing is known."""
    try:
        workloads = await running_workloads(home)
    except NotRunning:
        return {}
    status = next((item for item in workloads if item.node_id == proxy.node_id), None)
    if status is None:
        return {}
    try:
        answer = await ask_json(Admin(home.workload(status.id).admin_socket), "/clusters?format=json")
    except AdminError as error:
        click.echo(f"marline: its endpoints' health is not known: {error}", err=True)
        return {}
    return {(row.cluster, row.endpoint): row.notes for row in endpoint_rows(answer) if row.notes}


def _with_lines(found: Explanation, documents: Mapping[Ref, Document]) -> Explanation:
    steps = tuple(
        msgspec.structs.replace(
            step,
            place=located(step.place, documents),
            details=tuple(
                msgspec.structs.replace(detail, place=located(detail.place, documents))
                for detail in step.details
            ),
        )
        for step in found.steps
    )
    return msgspec.structs.replace(found, steps=steps)
