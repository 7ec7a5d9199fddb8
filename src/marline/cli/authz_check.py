"""`marline authz check`: may a caller reach a service, and which rule decides?"""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from marline.cli.authz_question import caller_of, request_of, service_of
from marline.cli.completing import complete_workload
from marline.cli.described_mesh import application_option, mesh_of_files
from marline.cli.exits import ExitCode
from marline.cli.explain_mesh import KnownMesh, lines_of, located, running_mesh
from marline.cli.files import file_option, recursive_option
from marline.cli.options import Settings, mesh_options
from marline.cli.output import JSON, TABLE, YAML, bad, doubtful, dump, good, output_option
from marline.cli.request_headers import header_option, header_pairs
from marline.explain.access import ALLOWED, ASKED, DENIED, UNKNOWN, Access, accesses, worst
from marline.explain.arrival import Peers

_CODES: Final = {
    ALLOWED: ExitCode.OK,
    DENIED: ExitCode.FAILED,
    ASKED: ExitCode.OK,
    UNKNOWN: ExitCode.CANNOT_TELL,
}
_SHOWN: Final = {
    ALLOWED: good("allowed"), DENIED: bad("denied"), ASKED: doubtful("asked"), UNKNOWN: doubtful("unknown"),
}  # fmt: skip


@click.command(name="check")
@click.argument("source", metavar="SRC", shell_complete=complete_workload)
@click.argument("destination", metavar="DST")
@click.argument("method", metavar="[METHOD]", required=False, default="GET")
@click.argument("path", metavar="[PATH]", required=False)
@header_option
@click.option("--port", type=click.IntRange(1, 65535), help="Of DST; by default its first one.")
@click.option("--claims", metavar="JSON", help="The claims of a valid token that the request brings.")
@click.option("--ip", default="", metavar="ADDRESS", help="Where SRC calls from.")
@file_option
@recursive_option
@application_option
@output_option(TABLE, JSON, YAML)
@mesh_options
@click.pass_obj
def check(
    settings: Settings,
    source: str,
    destination: str,
    method: str,
    path: str | None,
    headers: tuple[str, ...],
    port: int | None,
    claims: str | None,
    ip: str,
    files: tuple[Path, ...],
    recursive: bool,
    applications: tuple[Path, ...],
    output: str,
) -> int:
    """Tell whether policies let SRC reach DST, and which rule decides.

    SRC is a workload, NAMESPACE/SERVICEACCOUNT, a SPIFFE ID, or `anyone`, who has no identity. DST is a
    service, as HOST or HOST:PORT. With --filename or --application the mesh is what the files describe.

    The answer is read from the configuration that the proxies of DST are given. Exit code 0: it is allowed,
    or another service is asked; 1: it is denied; 5: it cannot be told.
    """
    if method.startswith("/") and path is None:
        method, path = "GET", method
    if files or applications:
        mesh = asyncio.run(mesh_of_files(files, applications, recursive=recursive))
    else:
        mesh = asyncio.run(running_mesh(settings.home))
    service, chosen = service_of(mesh, destination, port or 0)
    caller = replace(caller_of(mesh, source, ip), claims=_claims(claims))
    request = request_of(service, chosen, method, path or "/", header_pairs(headers))
    found = accesses(mesh.snapshot, Peers.of(mesh.proxies), caller, service, chosen, request)
    documents = mesh.documents
    if not (files or applications):
        places = [place.resource for item in found for place in item.places()]
        documents = asyncio.run(lines_of(settings.home, places))
    found = tuple(with_lines(item, KnownMesh(mesh.snapshot, mesh.proxies, documents)) for item in found)
    if output == TABLE:
        click.echo("\n".join(line for item in found for line in shown(item)))
    else:
        dump(found, output)
    return _CODES[worst(found)]


def _claims(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"--claims is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise click.BadParameter('--claims: expected an object, such as \'{"iss": "…", "sub": "…"}\'')
    return found


def with_lines(item: Access, mesh: KnownMesh) -> Access:
    """With the lines of the rules, as far as they are known."""
    return msgspec.structs.replace(
        item,
        place=located(item.place, mesh.documents),
        tried=tuple(
            msgspec.structs.replace(tried, place=located(tried.place, mesh.documents)) for tried in item.tried
        ),
    )


def shown(item: Access) -> list[str]:
    """An answer in lines."""
    by = f"  {item.place.text}" if item.place is not None else ""
    lines = [f"{_SHOWN[item.verdict]} at {item.workload}: {item.text}", by]
    for tried in item.tried:
        by = f" ({tried.place.text})" if tried.place is not None else ""
        lines.append(f"  dry run: would {tried.verdict}{by}")
    return [line for line in lines if line]
