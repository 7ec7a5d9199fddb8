"""Who speaks mutual TLS with whom: for each client and each service that it sees, what both ends were told.

Istio, "Mutual TLS Migration" and "Auto mutual TLS": the server's PeerAuthentication says what is taken, a
DestinationRule or else what the server takes says what is sent.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from marline.compile.catalog import units
from marline.compile.endpoints import clustered_ports, port_cluster, port_subsets
from marline.compile.resource import CLUSTER
from marline.compile.units import EndpointsUnit, HostUnit
from marline.explain.arrival import Arrival, Peers, accepted_by, arrive, workload_of
from marline.explain.origin import Place
from marline.explain.request import CannotTell, Request
from marline.explain.rules import policy_place
from marline.explain.steps import Said
from marline.explain.upstreams import Upstream, upstreams_of
from marline.explain.view import CompiledView
from marline.mesh.authentication import Decision
from marline.mesh.model import Port, Proxy, Role, Service
from marline.mesh.snapshot import MeshSnapshot


class Link(Said, frozen=True):
    """One client, one port of one service, one workload that serves it."""

    client: str
    """As `namespace/name`."""
    service: str
    port: int
    server: str
    """A workload as `namespace/name`; an address, if it is none of the mesh's."""
    sent: str
    """How the client's proxy calls: `mtls`, `tls` or `plain`."""
    accepted: bool
    text: str
    """What the server's proxy does with it."""
    mode: str = ""
    """What the server's proxy takes: STRICT, PERMISSIVE or DISABLE; nothing, if it is none of the mesh's."""
    subset: str = ""
    """Only where a subset of a DestinationRule is called in another way than its service."""
    sent_by: Place | None = None
    """The DestinationRule that says how to call; none: what the server takes (automatic mutual TLS)."""
    mode_by: Place | None = None
    """The PeerAuthentication that says what is taken; none: the default."""


def links(
    snapshot: MeshSnapshot, proxies: Iterable[Proxy], clients: Iterable[Proxy], host: str = ""
) -> Iterator[Link]:
    """Of these clients to the service of a hostname, or to all that they see. `proxies`: all that are
    connected."""
    reader = _Reader(snapshot, Peers.of(proxies))
    for proxy in clients:
        wanted = [
            unit
            for unit in units(snapshot, proxy)
            if isinstance(unit, HostUnit | EndpointsUnit) and host in ("", unit.hostname)
        ]
        view = CompiledView.of(snapshot, proxy, wanted)
        scope = snapshot.scope(proxy)
        for hostname in sorted({unit.hostname for unit in wanted}):
            service = snapshot.service(hostname, scope)
            if service is not None:
                yield from reader.of_service(view, service)


@dataclass(slots=True)
class _Reader:
    snapshot: MeshSnapshot
    peers: Peers
    _known: dict[Any, Arrival] = field(default_factory=dict)
    """What becomes of equal connections, whoever opens them."""

    def of_service(self, view: CompiledView, service: Service) -> Iterator[Link]:
        client = view.proxy.workloads[0]
        rule = self.snapshot.destination_rule(service.hostname, client.namespace, dict(client.labels))
        for port in clustered_ports(service, view.proxy):
            general: dict[str, Link] = {}
            for subset in port_subsets(rule, port):
                for link in self._of_cluster(view, service, port, subset):
                    if not subset:
                        general[link.server] = link
                    if not subset or _differs(link, general.get(link.server)):
                        yield link

    def _of_cluster(self, view: CompiledView, service: Service, port: Port, subset: str) -> Iterator[Link]:
        name = port_cluster(service.hostname, port, subset)
        cluster = view.message(CLUSTER, name)
        found = upstreams_of(cluster, view) if cluster is not None else None
        place = policy_place(self.snapshot, view.sources(CLUSTER, name), port.number, subset, "tls")
        client = view.proxy.workloads[0]
        for upstream in found or ():
            arrival = self._arrive(upstream, service, port)
            decision = self._decision(upstream)
            yield Link(
                client=f"{client.namespace}/{client.name}",
                service=service.hostname,
                port=port.number,
                server=workload_of(upstream),
                sent=upstream.security.kind,
                accepted=arrival.accepted,
                text=arrival.text,
                mode=decision.mode.value if decision is not None else "",
                subset=subset,
                sent_by=place,
                mode_by=_place(decision),
            )

    def _arrive(self, upstream: Upstream, service: Service, port: Port) -> Arrival:
        key = (upstream, port.protocol.is_http)
        if key not in self._known:
            request = Request(service.hostname) if port.protocol.is_http else None
            try:
                self._known[key] = arrive(self.snapshot, self.peers, upstream, request)
            except CannotTell as error:
                self._known[key] = Arrival(False, str(error))
        return self._known[key]

    def _decision(self, upstream: Upstream) -> Decision | None:
        known = self.peers.by_workload.get((upstream.namespace, upstream.workload))
        if known is None or known[0].role is Role.GATEWAY:
            return None
        workload = known[0].workloads[known[1]]
        return accepted_by(self.snapshot, workload, upstream.port)


def _differs(link: Link, general: Link | None) -> bool:
    return general is None or (link.sent, link.accepted) != (general.sent, general.accepted)


def _place(decision: Decision | None) -> Place | None:
    if decision is None or decision.source is None:
        return None
    return Place.at(decision.source, decision.field)
