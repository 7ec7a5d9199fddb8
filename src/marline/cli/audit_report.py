"""`marline audit report`: what auditors ask about a running mesh, answered from what its proxies are told."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import click
import msgspec

from marline.cli.audit_matches import never_matched
from marline.cli.authz_question import caller_of, request_of, service_of
from marline.cli.completing import complete_workload
from marline.cli.envoy_dump import ask_dump
from marline.cli.explain_mesh import KnownMesh, running_mesh
from marline.cli.mesh import running_workloads
from marline.cli.options import Settings, mesh_options
from marline.cli.output import Column, bad, doubtful, emit, good, output_option
from marline.explain.access import ALLOWED, ASKED, DENIED, Access, Caller, accesses, worst
from marline.explain.arrival import Peers
from marline.explain.authentication import links
from marline.explain.request import Request
from marline.explain.sample_requests import sample_requests
from marline.mesh.endpoints import spiffe_id
from marline.mesh.model import Port, Service
from marline.node.admin import Admin
from marline.node.home import Home
from marline.store.spans import human_duration

_NOBODY: Final = "nobody-that-a-policy-names"
_MUTUAL: Final = "STRICT"
SOME: Final = "some"


class Answer(msgspec.Struct, frozen=True):
    """May this caller reach that service, by which rule?"""

    caller: str
    service: str
    verdict: str
    """`allow`, `deny`, `ask`, `unknown`; `some`: it depends on the request."""
    decided_by: str
    requests: tuple[str, ...] = ()
    """Those that it is about; none: all. Of `some`, those that are not denied."""


class Plain(msgspec.Struct, frozen=True):
    """A service that takes or is sent plain text."""

    service: str
    takes: str
    """What its PeerAuthentication says."""
    sent: str
    client: str
    decided_by: str


class Certificate(msgspec.Struct, frozen=True):
    """One certificate that a proxy has now."""

    workload: str
    names: str
    type: str
    not_after: datetime


@click.group()
def report() -> None:
    """Answer what auditors ask, from the running mesh.

    Of HTTP services requests are tried like those that the policies name: `some` says which of them are not
    denied. --method and --path ask about one; `marline authz check` about one with all that it brings.
    """


report.add_command(never_matched)

_method = click.option("--method", help="Ask about one request: its method (default: GET).")
_path = click.option("--path", help="Ask about one request: its path (default: /).")


@report.command("who-may-call")
@click.argument("service")
@_method
@_path
@output_option()
@mesh_options
@click.pass_obj
def who_may_call(settings: Settings, service: str, method: str | None, path: str | None, output: str) -> None:
    """Tell for each identity of the mesh, and for who has none, whether it may call SERVICE."""
    mesh = asyncio.run(running_mesh(settings.home))
    found, port = service_of(mesh, service)
    callers = [*_identities(mesh), Caller()]
    emit([_answer(mesh, caller, found, port, method, path) for caller in callers], _ANSWERS, output)


@report.command("may-call")
@click.argument("workload", shell_complete=complete_workload)
@_method
@_path
@output_option()
@mesh_options
@click.pass_obj
def may_call(settings: Settings, workload: str, method: str | None, path: str | None, output: str) -> None:
    """Tell for each service whether WORKLOAD may call it."""
    mesh = asyncio.run(running_mesh(settings.home))
    caller = caller_of(mesh, workload)
    rows = [_answer(mesh, caller, service, port, method, path) for service, port in _services(mesh)]
    emit(rows, _ANSWERS, output, empty="there are no services")


@report.command()
@output_option()
@mesh_options
@click.pass_obj
def unprotected(settings: Settings, output: str) -> None:
    """List services that an identity may call which no policy names."""
    mesh = asyncio.run(running_mesh(settings.home))
    domain = mesh.snapshot.settings.trust_domain
    nobody = Caller(spiffe_id(domain, _NOBODY, _NOBODY))
    rows = [_answer(mesh, nobody, service, port, None, None) for service, port in _services(mesh)]
    found = [
        msgspec.structs.replace(row, caller="everybody in the mesh")
        for row in rows
        if row.verdict in (ALLOWED, SOME)
    ]
    emit(found, _ANSWERS, output, empty="every service has a policy that says who may call it")


@report.command()
@output_option()
@mesh_options
@click.pass_obj
def plaintext(settings: Settings, output: str) -> None:
    """List where plain text is allowed or sent."""
    mesh = asyncio.run(running_mesh(settings.home))
    rows = dict.fromkeys(_plain(mesh))
    emit(rows, _PLAINS, output, empty="plain text is taken and sent nowhere")


@report.command()
@output_option()
@mesh_options
@click.pass_obj
def certificates(settings: Settings, output: str) -> None:
    """List the certificates of the proxies on this machine, those that end first at the top."""
    rows = sorted(asyncio.run(_certificates(settings.home)), key=lambda row: row.not_after)
    emit(rows, _CERTIFICATES, output, empty="no proxy runs on this machine")


def _identities(mesh: KnownMesh) -> Iterator[Caller]:
    domain = mesh.snapshot.settings.trust_domain
    workloads = [workload for proxy in mesh.proxies for workload in proxy.workloads]
    named = {spiffe_id(domain, item.namespace, item.service_account): item.address for item in workloads}
    return (Caller(identity, named[identity]) for identity in sorted(named))


def _services(mesh: KnownMesh) -> Iterator[tuple[Service, Port]]:
    """Those that workloads of the mesh serve, at each port."""
    for hostname in sorted(mesh.snapshot.services):
        service = mesh.snapshot.services[hostname]
        if any(endpoint.workload for endpoint in mesh.snapshot.all_endpoints(service)):
            yield from ((service, port) for port in service.ports)


def _answer(
    mesh: KnownMesh, caller: Caller, service: Service, port: Port, method: str | None, path: str | None
) -> Answer:
    peers, tried = Peers.of(mesh.proxies), _requests(mesh, service, port, method, path)
    found = {item: accesses(mesh.snapshot, peers, caller, service, port, item) for item in tried}
    verdicts = {request: worst(answers) for request, answers in found.items()}
    one = next(iter(verdicts.values()))
    differ = set(verdicts.values()) != {one}
    asked = tried if method is not None or path is not None else ()
    passing = [item for item, verdict in verdicts.items() if verdict != DENIED and item is not None]
    return Answer(
        caller.identity or "anyone",
        f"{service.hostname}:{port.number}",
        SOME if differ else one,
        ", ".join(dict.fromkeys(_decider(found[item], verdicts[item]) for item in passing if differ))
        or _decider(next(iter(found.values())), one),
        tuple(f"{item.method} {item.path}" for item in (passing if differ else asked) if item is not None),
    )


def _requests(
    mesh: KnownMesh, service: Service, port: Port, method: str | None, path: str | None
) -> Sequence[Request | None]:
    if method is not None or path is not None or not port.protocol.is_http:
        return (request_of(service, port, method or "GET", path or "/", ()),)
    places = (service.namespace, mesh.snapshot.settings.root_namespace)
    policies = mesh.snapshot.resources("security.istio.io", "AuthorizationPolicy")
    return sample_requests((item for item in policies if item.namespace in places), service.hostname)


def _decider(found: Sequence[Access], verdict: str) -> str:
    decided = next((item for item in found if item.verdict == verdict), None)
    if decided is None:
        return ""
    return str(decided.place.resource) if decided.place else decided.text


def _plain(mesh: KnownMesh) -> Iterator[Plain]:
    for link in links(mesh.snapshot, mesh.proxies, mesh.proxies):
        if not link.mode or (link.mode == _MUTUAL and link.sent == "mtls"):
            continue
        place = link.mode_by if link.mode != _MUTUAL else link.sent_by
        reason = str(place.resource) if place else "the default"
        yield Plain(f"{link.service}:{link.port}", link.mode, link.sent, link.client, reason)


async def _certificates(home: Home) -> list[Certificate]:
    from marline.cli.envoy_secrets import secret_rows  # certificates take a while to import

    found: list[Certificate] = []
    for workload in await running_workloads(home):
        dump = await ask_dump(Admin(home.workload(workload.id).admin_socket))
        name = f"{workload.namespace}/{workload.name}"
        rows = secret_rows(dump.secrets())
        found += [Certificate(name, row.names, row.type, row.not_after) for row in rows]
    return found


def _left(row: Certificate) -> str:
    seconds = (row.not_after - datetime.now(UTC)).total_seconds()
    return bad("ended") if seconds <= 0 else human_duration(seconds)


_COLOURS: Final = {ALLOWED: good, DENIED: bad, ASKED: doubtful}
_ANSWERS: Final = (
    Column[Answer]("CALLER", lambda row: row.caller),
    Column[Answer]("SERVICE", lambda row: row.service),
    Column[Answer]("VERDICT", lambda row: _COLOURS.get(row.verdict, doubtful)(row.verdict)),
    Column[Answer]("REQUESTS", lambda row: ", ".join(row.requests) or "all"),
    Column[Answer]("DECIDED BY", lambda row: row.decided_by),
)
_PLAINS: Final = (
    Column[Plain]("SERVICE", lambda row: row.service),
    Column[Plain]("TAKES", lambda row: row.takes),
    Column[Plain]("SENT", lambda row: row.sent),
    Column[Plain]("BY", lambda row: row.client),
    Column[Plain]("DECIDED BY", lambda row: row.decided_by),
)
_CERTIFICATES: Final = (
    Column[Certificate]("WORKLOAD", lambda row: row.workload),
    Column[Certificate]("TYPE", lambda row: row.type),
    Column[Certificate]("ENDS IN", _left),
    Column[Certificate]("NAMES", lambda row: row.names),
)
