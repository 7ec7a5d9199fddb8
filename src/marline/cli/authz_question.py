"""Who asks for what, in `marline authz`: callers and services as a user names them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import click

from marline.api.faults import nearest
from marline.cli.batch import make_batch
from marline.cli.described_mesh import described_mesh, read_application
from marline.cli.exits import Failed, Missing
from marline.cli.explain_mesh import KnownMesh, proxies_called
from marline.cli.files import read_files
from marline.compile.routes import carries_http
from marline.explain.access import Caller
from marline.explain.request import Request, headers_of
from marline.explain.target import MalformedTarget, parse_target
from marline.mesh.endpoints import spiffe_id
from marline.mesh.model import Port, Service

ANYONE: Final = "anyone"
"""A caller without identity: outside the mesh, or a process that calls in plain text."""
_SPIFFE: Final = "spiffe://"


async def mesh_of_files(
    files: tuple[Path, ...], applications: tuple[Path, ...], *, recursive: bool
) -> KnownMesh:
    """Raises `Failed` and `InvalidResource`."""
    batch = make_batch(read_files(files, recursive=recursive), None) if files else []
    return await described_mesh(batch, map(read_application, applications))


def caller_of(mesh: KnownMesh, name: str, address: str = "") -> Caller:
    """`anyone`, a SPIFFE ID, `<namespace>/<service account>`, or a workload. Raises `Missing`, `Failed`."""
    if name == ANYONE:
        return Caller("", address)
    if name.startswith(_SPIFFE):
        return Caller(name, address)
    domain = mesh.snapshot.settings.trust_domain
    namespace, slash, account = name.partition("/")
    if slash:
        return Caller(spiffe_id(domain, namespace, account), address)
    workloads = [item.workloads[0] for item in proxies_called(mesh, name)]
    identities = {spiffe_id(domain, item.namespace, item.service_account) for item in workloads}
    if len(identities) > 1:
        raise Failed(f"{name!r} may mean {' or '.join(sorted(identities))}; name one of them")
    return Caller(identities.pop(), address or workloads[0].address)


def service_of(mesh: KnownMesh, destination: str, number: int = 0) -> tuple[Service, Port]:
    """`host` or `host:port`; a short name is of the namespace `default`. Raises `Missing` and `Failed`."""
    try:
        target = parse_target(destination, "GET", None, ())
    except MalformedTarget as error:
        raise Failed(str(error)) from error
    snapshot = mesh.snapshot
    hostname = snapshot.resolve_host(target.host, "default")
    service = snapshot.services.get(hostname)
    if service is None:
        close = nearest(hostname, snapshot.services)
        hint = f"; did you mean {close}?" if close else ""
        raise Missing(f"no service has the host {hostname}{hint}")
    number = number or target.port
    port = service.port(number) if number else next(iter(service.ports), None)
    if port is None:
        known = ", ".join(str(item.number) for item in service.ports)
        raise Missing(f"{hostname} has no port {number or ''} (it has {known or 'none'})")
    return service, port


def request_of(
    service: Service, port: Port, method: str, path: str, headers: Iterable[tuple[str, str]]
) -> Request | None:
    """None: the port is not for HTTP."""
    if not carries_http(port):
        return None
    pairs = headers_of(headers)
    host = next((value for name, value in pairs if name == "host"), f"{service.hostname}:{port.number}")
    others = tuple(item for item in pairs if item[0] != "host")
    return Request(host, method.upper(), path, "http", others)


def header_pairs(headers: Sequence[str]) -> list[tuple[str, str]]:
    """`NAME:VALUE`, as `-H` takes them. Raises `click.UsageError`."""
    found = []
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise click.UsageError(f"{header!r} is no header; expected NAME:VALUE")
        found.append((name.strip(), value.strip()))
    return found
