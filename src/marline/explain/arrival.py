"""What the proxy at the other end does with a connection: does its policy take it, and who answers?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from marline.api.resource import Ref
from marline.compile.inbound_policies import port_policies
from marline.compile.resource import LISTENER
from marline.compile.units import InboundUnit
from marline.explain.authorization import judge
from marline.explain.connections import (
    Connection,
    chain_for,
    manager_of,
    server_side,
    strange_filters,
    terminates_tls,
)
from marline.explain.influences import passed_by, patch_details, under_load
from marline.explain.managers import as_seen, route_request
from marline.explain.managers import strange_filters as strange_http_filters
from marline.explain.origin import Place
from marline.explain.rbac import Attempt
from marline.explain.request import CannotTell, Request
from marline.explain.steps import Detail
from marline.explain.upstreams import Upstream
from marline.explain.view import CompiledView
from marline.mesh.authentication import Decision, MtlsMode
from marline.mesh.endpoints import entry_labels, spiffe_id
from marline.mesh.model import Capture, Proxy, Role, Workload
from marline.mesh.snapshot import MeshSnapshot

_WORKLOAD_ENTRY: Final = ("networking.istio.io", "WorkloadEntry")
_FORBIDDEN: Final = 403
_HTTP_BYTES: Final = ("http/1.1",)
_HTTP_ALPN: Final = ("h2", "http/1.1")


@dataclass(frozen=True, slots=True)
class Arrival:
    """What becomes of a connection at one endpoint."""

    accepted: bool
    text: str
    place: Place | None = None
    status: int = 0
    """What the proxy there answers by itself; 0: the application does."""
    doubts: tuple[str, ...] = ()
    influences: tuple[Detail, ...] = ()
    """What else acts on the request there."""


@dataclass(frozen=True, slots=True)
class Peers:
    """The proxies that are connected, by the workload that they serve."""

    by_workload: Mapping[tuple[str, str], tuple[Proxy, int]]

    @classmethod
    def of(cls, proxies: Iterable[Proxy]) -> "Peers":
        return cls(
            {
                (workload.namespace, workload.name): (proxy, index)
                for proxy in proxies
                for index, workload in enumerate(proxy.workloads)
            }
        )


def arrive(
    snapshot: MeshSnapshot,
    peers: Peers,
    upstream: Upstream,
    request: Request | None,
    caller: Attempt | None = None,
) -> Arrival:
    """`request`: as it is sent; None for bytes that are no HTTP. `caller`: who sends it; None: whether
    policies let it pass is not asked. Raises `CannotTell`."""
    if not upstream.workload:
        return Arrival(True, "it is no workload of the mesh")
    if upstream.security.proxy_protocol:
        raise CannotTell("whether the PROXY protocol is understood there is not known")
    known = peers.by_workload.get((upstream.namespace, upstream.workload))
    if known is None:
        return _by_policy(snapshot, upstream)
    proxy, index = known
    is_gateway = proxy.role is Role.GATEWAY
    view = CompiledView.of(snapshot, proxy, None if is_gateway else (InboundUnit(index),))
    listener = inbound_listener(view, proxy, upstream.port)
    if listener is None:
        return Arrival(False, f"its proxy does not listen on port {upstream.port}")
    place = _policy_place(view, listener, index, upstream.port)
    found = _at_listener(view, listener, proxy.workloads[index], upstream, request, place, caller)
    if is_gateway and found.accepted and not found.status:
        onward = f"{found.text}; `marline explain {upstream.workload}` tells where it is sent on"
        return replace(found, text=onward)
    return found


def inbound_listener(view: CompiledView, proxy: Proxy, port: int) -> Any | None:
    """Where a proxy takes what is sent to a port of its workload."""
    captured = proxy.capture is Capture.TRANSPARENT and proxy.role is not Role.GATEWAY
    wanted = proxy.inbound_capture_port if captured else port
    found = (item for item in view.listeners() if item.address.socket_address.port_value == wanted)
    return next(found, None)


def accepted_by(snapshot: MeshSnapshot, workload: Workload, listen: int) -> Decision:
    """Which connections a workload takes at a port at which its proxy listens, and what decides that."""
    labels = dict(workload.labels)
    served = [item for item in workload.inbound if item.listen == listen]
    names, own = {item.name for item in served}, {item.app_port for item in served}
    services = snapshot.services_selecting(workload.namespace, labels)
    numbers = {port.number for service in services for port in service.ports if port.name in names}
    return snapshot.peer_policy(workload.namespace, labels).decision(listen, *own, *numbers)


def _policy_place(view: CompiledView, listener: Any, index: int, port: int) -> Place | None:
    """What says which connections a proxy takes: a PeerAuthentication; at a gateway, the Gateway."""
    if view.proxy.role is Role.GATEWAY:
        sources = view.sources(LISTENER, listener.name)
        return Place.at(sources[0], "spec") if sources else None
    decision = accepted_by(view.snapshot, view.proxy.workloads[index], port)
    return Place.at(decision.source, decision.field) if decision.source is not None else None


def _at_listener(
    view: CompiledView,
    listener: Any,
    workload: Workload,
    upstream: Upstream,
    request: Request | None,
    place: Place | None,
    caller: Attempt | None,
) -> Arrival:
    security = upstream.security
    tls = security.kind != "plain"
    offered = (_HTTP_ALPN if tls else _HTTP_BYTES) if request is not None else ()
    connection = Connection(upstream.address, upstream.port, tls, security.server_name, offered)
    chain = chain_for(listener, connection)
    demanded = "mTLS is demanded there" if place is not None else "mTLS is demanded there, by default"
    if chain is None or (terminates_tls(chain) and not tls):
        return Arrival(False, f"{demanded}, and the connection is in plain text", place)
    if security.kind == "mtls" and not terminates_tls(chain):
        return Arrival(False, "mTLS is turned off there, and the connection is with mTLS", place)
    ending = server_side(chain) if terminates_tls(chain) else None
    if ending is not None and security.kind == "tls":
        if ending.demands_client:
            return Arrival(False, f"{demanded}, and the connection brings no SVID", place)
        doubt = "whether its certificate is one that the client trusts is not known"
        return Arrival(True, "taken, TLS is ended there", place, 0, (doubt,))
    if ending is not None and not ending.own_identity:
        return Arrival(False, "its certificate there is none of the mesh's, which is expected", place)
    if security.kind == "tls" and manager_of(chain) is not None:
        return Arrival(False, "HTTP in plain text is expected there, and the connection is with TLS", place)
    if security.kind == "tls":
        doubt = "whether the application ends TLS by itself is not known"
        return Arrival(True, "taken, TLS is left to the application", place, 0, (doubt,))
    identity = spiffe_id(view.snapshot.settings.trust_domain, workload.namespace, workload.service_account)
    if security.kind == "mtls" and security.expected and identity not in security.expected:
        expected = " or ".join(security.expected)
        return Arrival(False, f"it is {identity}, but {expected} is expected", place)
    how = f"taken, as {identity}" if security.kind == "mtls" else "taken"
    answer = _answer(view, listener.name, chain, workload, upstream.port, request)
    found = replace(answer, text=how, place=place)
    if caller is None:
        return found
    principals = caller.principals if security.kind == "mtls" else ()
    shown = replace(caller, principals=principals, port=upstream.port, server_name=security.server_name)
    return _as_policies_say(chain, found, replace(shown, address=upstream.address), request)


def _as_policies_say(chain: Any, found: Arrival, caller: Attempt, request: Request | None) -> Arrival:
    manager = manager_of(chain)
    if manager is not None and request is not None:
        caller = replace(caller, request=as_seen(manager, request))
    judgement = judge(chain, caller)
    tried = tuple(
        Detail(f"a policy that is only tried would {'allow' if item.allowed else 'deny'} it", item.place)
        for item in judgement.tried
    )
    if not judgement.allowed:
        refused = replace(found, text=judgement.text, place=judgement.place)
        refused = replace(refused, influences=(*tried, *found.influences))
        if caller.request is None:
            return replace(refused, accepted=False)
        return replace(refused, status=_FORBIDDEN)
    asked = tuple(f"whether {name} lets it pass is not known" for name in judgement.asked)
    allowed = (Detail(judgement.text, judgement.place),) if judgement.place is not None else ()
    influences = (*allowed, *tried, *found.influences)
    return replace(found, doubts=(*found.doubts, *asked), influences=influences)


def _answer(
    view: CompiledView, listener: str, chain: Any, workload: Workload, port: int, request: Request | None
) -> Arrival:
    """What filters and routes there do with what was taken."""
    doubts = tuple(f"its filter {name} is not evaluated" for name in strange_filters(chain))
    manager = manager_of(chain)
    if manager is None or request is None:
        changed = tuple(patch_details(view, [(LISTENER, listener)]))
        return Arrival(True, "", doubts=doubts, influences=changed)
    decision = route_request(manager, view, request)
    doubts += tuple(
        f"its HTTP filter {name} is not evaluated" for name in strange_http_filters(manager, decision)
    )
    status = max((item.status for item in decision.outcomes), default=0)
    passed = passed_by(listener, manager, decision)
    policies = _policies(view.snapshot, workload, port)
    limits = under_load(view, manager, decision, passed, policies)
    return Arrival(True, "", None, status, doubts, (*limits, *patch_details(view, passed)))


def _policies(snapshot: MeshSnapshot, workload: Workload, listen: int) -> tuple[Ref, ...]:
    """Those attached to the services of a port."""
    services = snapshot.services_selecting(workload.namespace, dict(workload.labels))
    names = [item.name for item in workload.inbound if item.listen == listen]
    return tuple(ref for name in names for ref in port_policies(snapshot, services, name).sources)


def _by_policy(snapshot: MeshSnapshot, upstream: Upstream) -> Arrival:
    """For a workload whose proxy is not known: what its policy alone says."""
    entry = snapshot.resource(Ref(*_WORKLOAD_ENTRY, upstream.namespace, upstream.workload))
    if entry is None:
        raise CannotTell(f"nothing is known of the workload {upstream.namespace}/{upstream.workload}")
    policy = snapshot.peer_policy(upstream.namespace, entry_labels(entry))
    decision = policy.decision(upstream.port)
    mode = decision.mode
    place = Place.at(decision.source, decision.field) if decision.source is not None else None
    kind = upstream.security.kind
    if mode is MtlsMode.STRICT and kind != "mtls":
        return Arrival(False, "mTLS is demanded there, and the connection is without", place)
    if mode is MtlsMode.DISABLE and kind == "mtls":
        return Arrival(False, "mTLS is turned off there, and the connection is with mTLS", place)
    return Arrival(True, f"taken ({mode.value}; its proxy is not known)", place)


def workload_of(upstream: Upstream) -> str:
    """A name for who answers at an endpoint."""
    if upstream.workload:
        return f"{upstream.namespace}/{upstream.workload}"
    return f"{upstream.address}:{upstream.port}"
