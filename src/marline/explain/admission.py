"""Whom changed policies let in, or keep out: what `diff` says of AuthorizationPolicies.

Each caller that is connected is tried at each workload whose filters change, with requests like those that
the changed policies name. Workloads with the same filters are asked once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from marline.compile.tls import SNI_SUFFIX
from marline.compile.units import InboundUnit
from marline.explain.access import ALLOWED, ASKED, DENIED, Access, Caller, decide
from marline.explain.arrival import inbound_listener
from marline.explain.authorization import authorizers
from marline.explain.request import CannotTell, Request
from marline.explain.sample_requests import sample_requests
from marline.explain.view import CompiledView
from marline.mesh.endpoints import spiffe_id
from marline.mesh.model import InboundPort, Proxy, Workload
from marline.mesh.snapshot import MeshSnapshot

_SNI: Final = f"any.{SNI_SUFFIX}"

Pair = tuple[str, str]
"""The kind and the text of a consequence."""


@dataclass(frozen=True, slots=True)
class Server:
    """One port of one workload, before and after."""

    workload: Workload
    port: InboundPort
    before: CompiledView
    after: CompiledView

    def decide(self, view: CompiledView, caller: str, request: Request | None) -> Access | None:
        """None: it cannot be told."""
        try:
            return decide(view, self.workload, self.port.listen, Caller(caller), _SNI, request)
        except CannotTell:
            return None


def servers(before: MeshSnapshot, after: MeshSnapshot, proxy: Proxy, unit: InboundUnit) -> Iterator[Server]:
    """The ports of a workload."""
    views = (CompiledView.of(before, proxy, (unit,)), CompiledView.of(after, proxy, (unit,)))
    workload = proxy.workloads[unit.workload]
    for port in workload.inbound:
        yield Server(workload, port, *views)


def filters_of(server: Server) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """What decides there, before and after: equal filters decide alike."""
    return _filters(server, server.before), _filters(server, server.after)


def _filters(server: Server, view: CompiledView) -> tuple[bytes, ...]:
    listener = inbound_listener(view, view.proxy, server.port.listen)
    chains = listener.filter_chains if listener is not None else ()
    return tuple(
        item.SerializeToString(deterministic=True) for chain in chains for item in authorizers(chain)
    )


def admissions(
    after: MeshSnapshot, changed: Iterable[Any], found: Iterable[Server], proxies: Iterable[Proxy]
) -> dict[Pair, list[str]]:
    """Who loses or gains access, by what is said of it. `changed`: the resources that differ, as they were
    and as they would be; `found`: the workloads that may be concerned."""
    groups: dict[Any, list[Server]] = {}
    for server in found:
        filters = filters_of(server)
        if filters[0] != filters[1]:
            groups.setdefault((filters, server.port.protocol.is_http), []).append(server)
    callers = _callers(proxies, after.settings.trust_domain)
    requests = sample_requests(changed)
    said: dict[Pair, list[str]] = {}
    for alike in groups.values():
        tried = requests if alike[0].port.protocol.is_http else (None,)
        names = ", ".join(dict.fromkeys(_name(after, item) for item in alike))
        for identity, workloads in callers.items():
            for kind, text in _compared(alike[0], identity, tried):
                said.setdefault((kind, f"{names}: {text}"), []).extend(workloads)
    return said


def _compared(server: Server, caller: str, requests: Iterable[Request | None]) -> Iterator[Pair]:
    lost: dict[str, list[Request | None]] = {}
    gained: dict[str, list[Request | None]] = {}
    total = 0
    for request in requests:
        old = server.decide(server.before, caller, request)
        new = server.decide(server.after, caller, request)
        if old is None or new is None:
            continue
        total += 1
        place = f" ({new.place.text})" if new.place is not None else ""
        if old.verdict != DENIED and new.verdict == DENIED:
            lost.setdefault(f"{new.text}{place}", []).append(request)
        elif old.verdict == DENIED and new.verdict in (ALLOWED, ASKED):
            gained.setdefault(f"{new.text}{place}", []).append(request)
    for kind, reasons in (("lost", lost), ("gained", gained)):
        for reason, those in reasons.items():
            yield kind, f"{_said(those, total)}{reason}"


def _said(requests: list[Request | None], total: int) -> str:
    if len(requests) == total:
        return ""
    return f"{', '.join(f'{item.method} {item.path}' for item in requests if item is not None)}: "


def _callers(proxies: Iterable[Proxy], trust_domain: str) -> dict[str, list[str]]:
    """Workloads, as `namespace/name`, by identity."""
    found: dict[str, list[str]] = {}
    for proxy in proxies:
        for workload in proxy.workloads:
            identity = spiffe_id(trust_domain, workload.namespace, workload.service_account)
            found.setdefault(identity, []).append(f"{workload.namespace}/{workload.name}")
    return found


def _name(snapshot: MeshSnapshot, server: Server) -> str:
    """The service and port that a workload's port is, if it is one's."""
    workload = server.workload
    for service in snapshot.services_selecting(workload.namespace, dict(workload.labels)):
        for port in service.ports:
            if port.name == server.port.name:
                return f"{service.hostname}:{port.number}"
    return f"{workload.namespace}/{workload.name} port {server.port.listen}"
