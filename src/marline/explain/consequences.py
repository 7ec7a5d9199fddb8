"""What follows from a change: who loses or gains access, which shares move, what is hidden now, what TLS
changes. Each proxy is asked what it reaches in the mesh before and after, as far as the change touches it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from marline.analyze.shadowing import unreachable_in
from marline.api.networking.virtual_service import VirtualServiceSpec
from marline.api.resource import Ref
from marline.compile.catalog import affected
from marline.compile.gateway import gateway_hosts
from marline.compile.units import (
    EndpointsUnit,
    GatewayHostUnit,
    GatewayUnit,
    HostUnit,
    InboundUnit,
    Unit,
)
from marline.explain.accepting import accepted
from marline.explain.admission import Pair, Server, admissions, servers
from marline.explain.arrival import Peers
from marline.explain.covering import place_text, shadows
from marline.explain.origin import Place, route_place
from marline.explain.reach import Key, Reach, hosts_of, reach
from marline.explain.request import CannotTell
from marline.explain.steps import Said, percent
from marline.explain.upstreams import security_of, upstreams_of
from marline.explain.view import ClusterName, CompiledView
from marline.mesh.model import Impact, Proxy, Role
from marline.mesh.snapshot import MeshSnapshot


class Consequence(Said, frozen=True):
    """One thing that follows."""

    kind: str
    """`lost`, `gained`, `moved`, `route`, `shadowed`, `endpoints`, `tls`."""
    text: str
    proxies: tuple[str, ...] = ()
    """For whom, as `namespace/name`; none: for all."""


@dataclass(frozen=True, slots=True)
class Step:
    """The mesh before and after, and what lies between."""

    before: MeshSnapshot
    after: MeshSnapshot
    impact: Impact
    changed: tuple[Ref, ...]


def consequences(step: Step, proxies: Iterable[Proxy]) -> tuple[Consequence, ...]:
    """Of a change, for those who are connected."""
    everyone = tuple(proxies)
    inquiry = _Inquiry(step, Peers.of(everyone))
    found: dict[Pair, list[str]] = {}
    touched: list[Server] = []
    for proxy in everyone:
        workload, wanted = proxy.workloads[0], looked_at(step, proxy)
        served = [
            server
            for unit in wanted
            if isinstance(unit, InboundUnit)
            for server in servers(step.before, step.after, proxy, unit)
        ]
        for said in dict.fromkeys((*inquiry.about(proxy, wanted), *_accepted(proxy, served))):
            found.setdefault(said, []).append(f"{workload.namespace}/{workload.name}")
        touched += served
    for said, names in _admitted(step, touched, everyone).items():
        found.setdefault(said, []).extend(names)
    general = [Consequence("shadowed", text) for text in _hidden_rules(step)]
    made = [Consequence(kind, text, tuple(names)) for (kind, text), names in found.items()]
    return tuple(sorted([*general, *made], key=lambda item: (_ORDER.index(item.kind), item.text)))


def _admitted(step: Step, touched: Iterable[Server], proxies: Sequence[Proxy]) -> dict[Pair, list[str]]:
    """Whom policies let in, or keep out."""
    policies = [
        resource
        for ref in step.changed
        for resource in (step.before.resource(ref), step.after.resource(ref))
        if resource is not None
    ]
    return admissions(step.after, policies, touched, proxies)


_ORDER = ("lost", "endpoints", "tls", "shadowed", "moved", "route", "gained")


def looked_at(step: Step, proxy: Proxy) -> tuple[Unit, ...]:
    """The units of a proxy that a change touches, and those that lead to them."""
    touched: dict[Unit, None] = dict.fromkeys(affected(step.after, proxy, step.impact))
    touched |= dict.fromkeys(HostUnit(host) for host in sorted(step.impact.hosts | step.impact.endpoints))
    if proxy.role is Role.GATEWAY and (step.impact.hosts or step.impact.endpoints):
        touched |= dict.fromkeys((GatewayUnit(), *map(GatewayHostUnit, sorted(gateway_hosts(step.after)))))
    return tuple(touched)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was found out for one proxy: it holds for all that are given the same."""

    also: tuple[Unit, ...]
    """Units of other hosts, to which routes lead."""
    given: tuple[Any, ...]
    """What these consist of, before and after."""
    said: tuple[Pair, ...]


@dataclass(slots=True)
class _Inquiry:
    """Asks proxies; what several have in common is found out once."""

    step: Step
    peers: Peers
    _seen: dict[Any, list[_Seen]] = field(default_factory=dict)

    def about(self, proxy: Proxy, wanted: Sequence[Unit]) -> Iterator[Pair]:
        """What is different in what a proxy sends."""
        shared = [unit for unit in wanted if isinstance(unit, (HostUnit, EndpointsUnit))]
        yield from self._shared(proxy, shared)
        own = [unit for unit in wanted if not isinstance(unit, (HostUnit, EndpointsUnit, InboundUnit))]
        yield from self._follow(self._views(proxy, own))

    def _shared(self, proxy: Proxy, units: Sequence[Unit]) -> tuple[Pair, ...]:
        views = self._views(proxy, units)
        same = (_without_route(self.step.after, proxy), *(view.given(units) for view in views))
        known = self._seen.setdefault(same, [])
        for item in known:
            if item.given == tuple(view.given(item.also) for view in views):
                return item.said
        said = tuple(self._follow(views))
        also = tuple(dict.fromkeys(unit for view in views for unit in view.compiled() if unit not in units))
        known.append(_Seen(also, tuple(view.given(also) for view in views), said))
        return said

    def _views(self, proxy: Proxy, units: Sequence[Unit]) -> tuple[CompiledView, CompiledView]:
        step = self.step
        return CompiledView.of(step.before, proxy, units), CompiledView.of(step.after, proxy, units)

    def _follow(self, views: tuple[CompiledView, CompiledView]) -> Iterator[Pair]:
        before, after = views
        without = _without_route(after.snapshot, after.proxy)
        yield from _reached(reach(before, self.peers), reach(after, self.peers), without)
        yield from _shadowed(before, after)
        yield from _clusters(before, after)


def _without_route(snapshot: MeshSnapshot, proxy: Proxy) -> str:
    """What becomes of requests to hosts that a proxy does not know."""
    if proxy.role is Role.GATEWAY:
        return "answered with 404"
    return "passed on around the mesh" if snapshot.scope(proxy).allow_any else "refused"


def _reached(old: dict[Key, Reach], new: dict[Key, Reach], without: str) -> Iterator[tuple[str, str]]:
    hosts_before, hosts_after = {name for name, _ in old}, {name for name, _ in new}
    for name in sorted(hosts_before - hosts_after):
        yield "lost", f"{name} is not known any more: its requests are {without}"
    for key, now in new.items():
        then = old.get(key)
        if then is not None:
            yield from _compared(then, now)
        elif now.refused is not None:
            yield "lost", f"{now.said}: {now.refused.text}"
        else:
            where = ", ".join(ClusterName.parse(name).text for name in now.shares) or now.endings[0].text
            yield "route" if key[0] in hosts_before else "gained", f"{now.said} has a route: {where}"
    for key, then in old.items():
        if key not in new and key[0] in hosts_after:
            yield "route", f"{then.said} has no route of its own any more"


def _compared(then: Reach, now: Reach) -> Iterator[tuple[str, str]]:
    if now.refused is not None and then.refused is None:
        yield "lost", f"{now.said}: {now.refused.text}"
    elif then.refused is not None and now.refused is None:
        yield "gained", f"{now.said}: {now.endings[0].text}"
    if then.shares != now.shares:
        moves = [
            f"{ClusterName.parse(name).text} {percent(then.shares.get(name, 0))} → "
            f"{percent(now.shares.get(name, 0))}"
            for name in dict.fromkeys([*then.shares, *now.shares])
            if then.shares.get(name, 0) != now.shares.get(name, 0)
        ]
        yield "moved", f"{now.said}: {', '.join(moves)}"


def _shadowed(before: CompiledView, after: CompiledView) -> Iterator[tuple[str, str]]:
    known = {pair for _, host in hosts_of(before) for pair in _shadow_texts(host)}
    for _, host in hosts_of(after):
        for text in _shadow_texts(host):
            if text not in known:
                yield "shadowed", text


def _shadow_texts(host: Any) -> list[str]:
    """Between resources, and in those of the Gateway API: of one VirtualService `_hidden_rules` tells."""
    return [
        f"{place_text(route)}: {place_text(by)} takes all that this route is for"
        for route, by in shadows(host.routes)
        if not _of_one_virtual_service(route_place(route), route_place(by))
    ]


def _of_one_virtual_service(one: Place | None, other: Place | None) -> bool:
    if one is None or other is None:
        return False
    return one.resource == other.resource and one.resource.kind == "VirtualService"


def _hidden_rules(step: Step) -> Iterator[str]:
    """Of the changed VirtualServices, whatever proxies are connected."""
    for ref in step.changed:
        known = set(_findings(step.before, ref))
        yield from (text for text in _findings(step.after, ref) if text not in known)


def _findings(snapshot: MeshSnapshot, ref: Ref) -> list[str]:
    resource = snapshot.resource(ref)
    if resource is None or not isinstance(resource.spec, VirtualServiceSpec):
        return []
    return [f"{ref} {item.path}: {item.message}" for item in unreachable_in(resource)]


def _clusters(before: CompiledView, after: CompiledView) -> Iterator[tuple[str, str]]:
    for cluster in after.clusters():
        name = ClusterName.parse(cluster.name)
        if not name.port:
            continue
        then = before.cluster(cluster.name)
        if then is None:
            continue
        (old_count, old_kinds), (count, kinds) = _facts(then, before), _facts(cluster, after)
        if old_count and count == 0:
            yield "endpoints", f"{name.text} has no ready endpoint any more"
        if old_kinds and kinds and old_kinds != kinds:
            yield "tls", f"connections to {name.text}: {' and '.join(old_kinds)} → {' and '.join(kinds)}"


_WORDS = {"plain": "plain text", "mtls": "mTLS", "tls": "TLS"}


def _facts(cluster: Any, view: CompiledView) -> tuple[int | None, list[str]]:
    """How many endpoints are ready (None: Envoy finds them by itself), and how they are connected to."""
    try:
        found = upstreams_of(cluster, view)
        if found is None:
            return None, [_WORDS[security_of(cluster, {}).kind]]
    except CannotTell:
        return None, []
    return len(found), sorted({_WORDS[item.security.kind] for item in found})


def _accepted(proxy: Proxy, served: Iterable[Server]) -> Iterator[Pair]:
    """What is different in the connections that a proxy takes."""
    for server in served:
        workload, port = server.workload, server.port
        old, new = accepted(server.before, proxy, port), accepted(server.after, proxy, port)
        if old != new:
            words = [
                " and ".join(sorted(_WORDS[kind] for kind in kinds)) or "nothing" for kinds in (old, new)
            ]
            yield "tls", f"port {port.listen} ({port.name}) of {workload.name} takes {words[0]} → {words[1]}"
