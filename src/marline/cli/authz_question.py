"""Who asks for what, in `marline authz`: callers and services as a user names them."""

from collections.abc import Iterable
from typing import Final

from marline.api.faults import nearest
from marline.cli.exits import Failed, Missing
from marline.cli.explain_mesh import KnownMesh, proxies_called
from marline.compile.routes import carries_http
from marline.explain.access import Caller
from marline.explain.request import Request, headers_of
from marline.explain.target import MalformedTarget, parse_target
from marline.mesh.endpoints import spiffe_id
from marline.mesh.model import Port, Service

ANYONE: Final = "anyone"
"""A caller without identity: outside the mesh, or a process that calls in plain text."""
_SPIFFE: Final = "spiffe://"


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
