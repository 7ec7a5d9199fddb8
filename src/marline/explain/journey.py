"""The whole way of one request, from the name that it calls to who answers it."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from marline.compile.resource import LISTENER
from marline.compile.tls import SNI_SUFFIX
from marline.explain.arrival import Peers
from marline.explain.authorization import judge
from marline.explain.connections import (
    by_server_name,
    manager_of,
    strange_filters,
    tcp_proxy_of,
    terminates_tls,
)
from marline.explain.delivery import Courier, Observed
from marline.explain.entry import Entry, enter
from marline.explain.inactive import left_out
from marline.explain.influences import passed_by, patch_details, under_load
from marline.explain.managers import as_seen, route_request
from marline.explain.managers import strange_filters as strange_http_filters
from marline.explain.naming import resolve
from marline.explain.origin import Place
from marline.explain.rbac import Attempt
from marline.explain.request import CannotTell, without
from marline.explain.route_facts import fact_steps
from marline.explain.routing import Decision, Outcome, Taken
from marline.explain.rules import destination_of, part_of
from marline.explain.steps import Detail, Ending, Explanation, Fate, Step, percent
from marline.explain.target import Target
from marline.explain.upstreams import Security
from marline.explain.view import CompiledView
from marline.mesh.model import Proxy, Role
from marline.mesh.snapshot import MeshSnapshot

_NOBODY: Final = Ending(Fate.REFUSED, "the connection is closed")
_BY: Final = {
    "redirect": "the proxy answers with a redirect",
    "direct response": "the proxy answers in the application's place",
    "fault": "the proxy answers with an injected fault",
    "cors": "the proxy answers the CORS preflight",
    "no route": "no rule is for it",
    "no virtual host": "the proxy knows no such host",
    "tls required": "the proxy redirects to HTTPS",
}
_ANSWERS: Final = frozenset({"redirect", "direct response", "cors", "tls required"})
_FIRST_ERROR: Final = 500
_FORBIDDEN: Final = 403


def explain(
    view: CompiledView, proxies: Iterable[Proxy], target: Target, observed: Observed | None = None
) -> Explanation:
    """What would become of a request of the workload whose proxy has this view (or, for a gateway, of a
    request to it).

    `proxies`: those that are connected, of which the destinations' decide too. `observed`: what the
    source's Envoy says of its endpoints now.
    """
    made = _Journey(view, Peers.of(proxies), observed or {})
    try:
        made.follow(target)
    except CannotTell as error:
        made.endings.append(Ending(Fate.UNKNOWN, str(error), made.remaining))
        made.steps.append(Step("cannot tell", str(error)))
    workload = view.proxy.workloads[0]
    return Explanation(
        source=f"{workload.namespace}/{workload.name}",
        request=made.asked.text,
        steps=tuple(made.steps),
        endings=tuple(made.endings),
        doubts=tuple(dict.fromkeys(made.doubts)),
    )


@dataclass(slots=True)
class _Journey:
    view: CompiledView
    peers: Peers
    observed: Observed
    asked: Target = field(init=False)
    steps: list[Step] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    carried: Security | None = None

    @property
    def snapshot(self) -> MeshSnapshot:
        return self.view.snapshot

    @property
    def remaining(self) -> float:
        """The share of requests whose end is not known yet."""
        return max(0.0, 1.0 - sum(item.share for item in self.endings))

    def follow(self, target: Target) -> None:
        self.asked = target
        scope = self.snapshot.scope(self.view.proxy)
        named = resolve(self.snapshot, scope, target)
        self.asked = named.target
        if self.view.proxy.role is not Role.GATEWAY:
            # A gateway's callers are outside: what the name means to them is not the mesh's to say.
            self.steps += named.steps
        entry = enter(self.view, named)
        self.steps += entry.steps
        if entry.bypasses:
            self.endings.append(Ending(Fate.ANSWERED, "the mesh has nothing to say about it"))
        elif entry.chain is None:
            self.endings.append(_NOBODY)
        else:
            self._through(entry)

    def _through(self, entry: Entry) -> None:
        self.doubts += [f"the filter {name} is not evaluated" for name in strange_filters(entry.chain)]
        manager = manager_of(entry.chain)
        if manager is None:
            self._forward_bytes(tcp_proxy_of(entry.chain), entry)
        elif entry.request is None:
            raise CannotTell("the proxy expects HTTP, but the connection is not of that kind")
        else:
            self._route(manager, entry)

    def _forward_bytes(self, proxy: Any, entry: Entry) -> None:
        """A connection of which the proxy reads nothing, or no more than its server name."""
        if proxy is None:
            raise CannotTell("the filter chain neither routes requests nor forwards bytes")
        if entry.request is not None and entry.request.method != "CONNECT":
            self.steps.append(Step("protocol", "the port is not for HTTP: the bytes are forwarded unread"))
        without(proxy, ("on_demand",), "the TCP proxy")
        self._say_changed([(LISTENER, entry.listener)])
        if proxy.HasField("tunneling_config"):
            how = "POST" if proxy.tunneling_config.use_post else "CONNECT"
            said = f"the bytes go through a tunnel, by {how} to {proxy.tunneling_config.hostname}"
            self.steps.append(Step("tunnel", said))
        clusters = [(item.name, item.weight) for item in proxy.weighted_clusters.clusters]
        connection = entry.connection
        if connection is not None and connection.tls and not terminates_tls(entry.chain):
            is_mesh = connection.server_name.endswith(f".{SNI_SUFFIX}")
            self.carried = Security("mtls" if is_mesh else "tls", connection.server_name)
        if by_server_name(entry.chain) and connection is not None:
            clusters = [(connection.server_name, 1)]
        clusters = clusters or [(proxy.cluster, 1)]
        total = sum(weight for _, weight in clusters)
        self._say_shares([(name, weight / total) for name, weight in clusters], None)
        for name, weight in clusters:
            self._deliver(name, weight / total, None, 0)

    def _route(self, manager: Any, entry: Entry) -> None:
        assert entry.request is not None  # noqa: S101 (the caller has made sure)
        decision = route_request(manager, self.view, entry.request)
        if not self._is_let_in(manager, entry):
            return
        self.steps += _host_steps(decision)
        if decision.host is not None:
            self.steps += self._route_steps(decision)
        self.doubts += [
            f"the HTTP filter {name} is not evaluated" for name in strange_http_filters(manager, decision)
        ]
        passed = passed_by(entry.listener, manager, decision)
        limits = under_load(self.view, manager, decision, passed)
        self.steps += [Step("under load", item.text, item.place) for item in limits]
        self._say_changed(passed)
        forwarded = [item for item in decision.outcomes if item.by == "cluster"]
        self._say_shares([(item.cluster, item.share) for item in forwarded], decision.place)
        for outcome in decision.outcomes:
            if outcome.by == "cluster":
                self._deliver(outcome.cluster, outcome.share, outcome.request, outcome.missing)
            else:
                self.endings.append(_answer(outcome))

    def _is_let_in(self, manager: Any, entry: Entry) -> bool:
        """Do policies of a gateway let the request pass? At sidecars there are none for what is sent."""
        assert entry.request is not None  # noqa: S101 (the caller has made sure)
        port = entry.connection.port if entry.connection is not None else 0
        try:
            found = judge(entry.chain, Attempt(request=as_seen(manager, entry.request), port=port))
        except CannotTell as error:
            self.doubts.append(f"whether policies let it pass is not known: {error}")
            return True
        self.doubts += [f"whether {name} lets it pass is not known" for name in found.asked]
        if found.allowed:
            return True
        self.steps.append(Step("authorization", found.text, found.place))
        self.endings.append(Ending(Fate.REFUSED, f"{found.text}: {_FORBIDDEN}", status=_FORBIDDEN))
        return False

    def _route_steps(self, decision: Decision) -> Iterator[Step]:
        missed = [Detail(item.why, item.place) for item in decision.misses]
        details = sorted([*missed, *left_out(self.snapshot, self.view.proxy, decision)], key=_order_of)
        if not decision.taken and decision.unrouted[0].by != "tls required":
            yield Step("route", "no rule is for this request", None, tuple(details))
        for taken in decision.taken:
            yield Step("route", _said_of(taken), taken.place, tuple(details))
            details = []
            yield from fact_steps(self.snapshot, taken)

    def _say_changed(self, passed: Iterable[tuple[str, str]]) -> None:
        details = tuple(patch_details(self.view, passed))
        if details:
            said = "what it passes through in the source's proxy has been changed"
            self.steps.append(Step("patches", said, None, details))

    def _say_shares(self, shares: list[tuple[str, float]], place: Place | None) -> None:
        if len(shares) < 2:
            return
        details = [
            Detail(f"{percent(share)} to {name}", destination_of(self.snapshot, place, index))
            for index, (name, share) in enumerate(shares)
        ]
        where = part_of(self.snapshot, place, "route", "backendRefs")
        self.steps.append(Step("shares", f"{len(shares)} destinations by weight", where, tuple(details)))

    def _deliver(self, cluster: str, share: float, request: Any, missing: int) -> None:
        courier = Courier(self.view, self.peers, self.observed, self.carried)
        made = courier.deliver(cluster, share, request, missing)
        self.steps += made.steps
        self.endings.append(made.ending)
        self.doubts += made.doubts


def _said_of(taken: Taken) -> str:
    if taken.place is None:
        return "no rule is about this host: its requests go to the service itself"
    named = f" ({taken.route.name})" if taken.route.name else ""
    whose = "it" if taken.share >= 1 else f"{percent(taken.share)} of such requests"
    return f"this rule is for {whose}{named}"


def _order_of(detail: Detail) -> tuple[int, ...]:
    """Rules of a VirtualService as they are written; others in the order in which they were tried."""
    place = detail.place
    if place is None or place.resource.kind != "VirtualService":
        return ()
    return tuple(int(number) for number in re.findall(r"\[(\d+)\]", place.field))


def _host_steps(decision: Decision) -> Iterator[Step]:
    if decision.host is None:
        yield Step("virtual host", f"the proxy knows no host {decision.request.authority}")
    else:
        said = f"{decision.request.authority} is of the virtual host {decision.host.name}"
        yield Step("virtual host", f"{said} (domain {decision.domain})")


def _answer(outcome: Outcome) -> Ending:
    answers = outcome.by in _ANSWERS and outcome.status < _FIRST_ERROR
    said = f"{_BY[outcome.by]}: {outcome.status}" + (f" to {outcome.location}" if outcome.location else "")
    fate = Fate.ANSWERED if answers else Fate.REFUSED
    return Ending(fate, said, outcome.share, outcome.status, location=outcome.location)
