"""May a caller reach a service? What the proxies of its workloads decide, and by which rule.

Only policies are asked: whether the caller sees the service, and what becomes of its request on the way, is
`journey`'s question.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from marline.compile.request_authentication import FILTER as TOKENS
from marline.compile.request_authentication import PAYLOAD, SPACE_DELIMITED
from marline.compile.tls import HTTP_ALPN, mesh_sni
from marline.compile.units import InboundUnit
from marline.explain.arrival import Peers, inbound_listener
from marline.explain.authorization import DryRun, judge
from marline.explain.connections import Connection, chain_for, manager_of
from marline.explain.managers import as_seen
from marline.explain.origin import Place
from marline.explain.rbac import Attempt
from marline.explain.request import CannotTell, Request
from marline.explain.steps import Said
from marline.explain.view import ClusterName, CompiledView
from marline.mesh.model import Capture, InboundPort, Port, Proxy, Role, Service, Workload
from marline.mesh.snapshot import MeshSnapshot

ALLOWED, DENIED, ASKED, UNKNOWN = "allow", "deny", "ask", "unknown"
_PLAIN_HTTP: Final = ("http/1.1",)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls."""

    identity: str = ""
    """Its SPIFFE ID; "": it has none and calls in plain text."""
    address: str = ""
    """"": not known."""
    claims: Mapping[str, Any] | None = None
    """Those of a token that its request brings and that is valid there."""


class Tried(Said, frozen=True):
    """What policies would do that are only tried."""

    verdict: str
    place: Place | None = None


class Access(Said, frozen=True):
    """What the proxy of one workload decides."""

    workload: str
    """As `namespace/name`."""
    verdict: str
    """`allow`, `deny`, `ask`: another service decides; `unknown`: it cannot be told."""
    text: str
    place: Place | None = None
    """The rule that decides."""
    asked: tuple[str, ...] = ()
    """The services that are asked, as `host:port`."""
    tried: tuple[Tried, ...] = ()

    def places(self) -> Iterator[Place]:
        found = (self.place, *(item.place for item in self.tried))
        return (place for place in found if place is not None)


def accesses(
    snapshot: MeshSnapshot,
    peers: Peers,
    caller: Caller,
    service: Service,
    port: Port,
    request: Request | None,
) -> tuple[Access, ...]:
    """One for each kind of workload that serves this port. `request`: None for a connection that is not
    HTTP."""
    found = []
    for proxy, index, listen in _serving(snapshot, peers, service, port):
        workload = proxy.workloads[index]
        view = CompiledView.of(snapshot, proxy, (InboundUnit(index),))
        try:
            answer = decide(view, workload, listen, caller, mesh_sni(service.hostname, port.number), request)
        except CannotTell as error:
            answer = Access("", UNKNOWN, str(error))
        named = f"{workload.namespace}/{workload.name}"
        found.append(msgspec.structs.replace(answer, workload=named))
    return tuple(found)


def _serving(
    snapshot: MeshSnapshot, peers: Peers, service: Service, port: Port
) -> Iterator[tuple[Proxy, int, int]]:
    """Proxies, which of their workloads it is, and where it listens. Of workloads with equal labels one; if
    none is known one as the service describes it."""
    seen = set()
    for endpoint in snapshot.all_endpoints(service):
        known = peers.by_workload.get((endpoint.namespace, endpoint.workload))
        if endpoint.service_port != port.name or known is None:
            continue
        proxy, index = known
        workload = proxy.workloads[index]
        kind = (workload.namespace, workload.labels, workload.service_account, endpoint.port)
        if kind not in seen:
            seen.add(kind)
            yield proxy, index, endpoint.port
    if not seen:
        proxy = _imagined(service)
        inbound = next(item for item in proxy.workloads[0].inbound if item.name == port.name)
        yield proxy, 0, inbound.listen


def _imagined(service: Service) -> Proxy:
    """A workload with the labels that a service selects, and a sidecar."""
    inbound = tuple(
        InboundPort(port.name, number, "127.0.0.1", number, port.protocol)
        for port in service.ports
        for number in (port.target if isinstance(port.target, int) and port.target else port.number,)
    )
    workload = Workload(service.namespace, service.name, labels=service.selector, inbound=inbound)
    name = f"imagined~{service.namespace}~{service.name}"
    return Proxy(name, Role.SIDECAR, Capture.TRANSPARENT, (workload,))


def decide(
    view: CompiledView, workload: Workload, port: int, caller: Caller, sni: str, request: Request | None
) -> Access:
    """What the proxy of one workload decides at the port at which it listens. `view`: of its `InboundUnit`.
    Raises `CannotTell`."""
    listener = inbound_listener(view, view.proxy, port)
    if listener is None:
        return Access("", DENIED, f"its proxy does not listen on port {port}")
    tls = bool(caller.identity)
    spoken = (HTTP_ALPN if tls else _PLAIN_HTTP) if request is not None else ()
    connection = Connection(
        workload.address or "127.0.0.1", port, tls, sni if tls else "", spoken, caller.address
    )
    chain = chain_for(listener, connection)
    if chain is None or (not tls and chain.transport_socket.name):
        return Access("", DENIED, "mTLS is demanded there, and the caller has no identity")
    if tls and not chain.transport_socket.name:
        # Nothing proves who calls where mTLS is turned off.
        caller = replace(caller, identity="")
    manager = manager_of(chain)
    seen = as_seen(manager, request) if manager is not None and request is not None else None
    found = judge(chain, _attempt(caller, connection, seen))
    asked = tuple(_service_of(cluster) for cluster in found.asked)
    tried = tuple(_tried(item) for item in found.tried)
    if not found.allowed:
        return Access("", DENIED, found.text, found.place, (), tried)
    if asked:
        return Access("", ASKED, f"{', '.join(asked)} decides", found.place, asked, tried)
    return Access("", ALLOWED, found.text, found.place, (), tried)


def _attempt(caller: Caller, connection: Connection, request: Request | None) -> Attempt:
    claims = dict(caller.claims or {})
    for name in SPACE_DELIMITED:
        if isinstance(claims.get(name), str):
            claims[name] = claims[name].split()
    return Attempt(
        principals=(caller.identity,) if caller.identity else (),
        request=request,
        source=caller.address,
        remote=caller.address,
        address=connection.address,
        port=connection.port,
        server_name=connection.server_name,
        metadata={TOKENS: {PAYLOAD: claims}} if caller.claims is not None else {},
    )


def _tried(item: DryRun) -> Tried:
    return Tried(ALLOWED if item.allowed else DENIED, item.place)


def _service_of(cluster: str) -> str:
    return ClusterName.parse(cluster).text


def worst(found: Iterable[Access]) -> str:
    """Of several workloads' verdicts the one that a caller has to reckon with."""
    verdicts = {item.verdict for item in found}
    return next((item for item in (DENIED, UNKNOWN, ASKED) if item in verdicts), ALLOWED)
