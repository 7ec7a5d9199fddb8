"""What becomes of a request that a route sends to a cluster: how an endpoint is chosen, and which may be."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from marline.api.resource import Ref
from marline.compile.passthrough import BLACK_HOLE, PASSTHROUGH
from marline.compile.resource import CLUSTER
from marline.explain.arrival import Arrival, Peers, arrive, workload_of
from marline.explain.influences import patch_details, resilience_place
from marline.explain.origin import Place
from marline.explain.rbac import Attempt
from marline.explain.request import CannotTell, Request
from marline.explain.rules import policy_place, subset_place
from marline.explain.steps import Detail, Ending, Fate, Step
from marline.explain.upstreams import (
    Security,
    Upstream,
    balancing_of,
    limits_of,
    outliers_of,
    resolved_names,
    retry_budget_of,
    security_of,
    upstreams_of,
)
from marline.explain.view import ClusterName, CompiledView
from marline.mesh.endpoints import spiffe_id

MOST: Final = 20
"""Endpoints of one cluster that are looked at one by one."""
_UNAVAILABLE: Final = 503
_NAMES: Final = 5
"""Expected identities that are listed."""
Observed = Mapping[tuple[str, str], str]
"""What the source's own Envoy says of (cluster, `address:port`) now, if it is not well: `ejected as …`."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The steps to one cluster, and how they end."""

    steps: tuple[Step, ...]
    ending: Ending
    doubts: tuple[str, ...] = ()


@dataclass(slots=True)
class Courier:
    """Follows requests of one proxy to their clusters."""

    view: CompiledView
    peers: Peers
    observed: Observed = field(default_factory=dict)
    carried: Security | None = None
    """TLS that the caller itself speaks, in bytes that are forwarded unread."""

    def deliver(self, name: str, share: float, request: Request | None, missing_status: int) -> Delivery:
        """`request`: as it is sent; None for bytes that are no HTTP. `missing_status`: what is answered if
        there is no such cluster. Raises `CannotTell`."""
        cluster = self.view.cluster(name)
        if cluster is None:
            said = f"there is no cluster {name}: the host, port or subset does not exist"
            ending = Ending(Fate.REFUSED, said, share, missing_status, name)
            return Delivery((Step("cluster", said),), ending)
        if name == BLACK_HOLE:
            said = "unknown destinations are refused here"
            return Delivery((Step("cluster", said),), Ending(Fate.REFUSED, said, share, 0, name))
        if name == PASSTHROUGH:
            return self._pass_on(name, share, request)
        sources = self.view.sources(CLUSTER, name)
        steps = [*self._cluster_steps(cluster, sources)]
        upstreams = upstreams_of(cluster, self.view)
        if upstreams is None:
            return self._find_out(cluster, share, request, steps)
        return self._choose(cluster, upstreams, share, request, steps)

    def _pass_on(self, name: str, share: float, request: Request | None) -> Delivery:
        said = "the mesh does not know the destination: it is passed on as it is, around all policies"
        ending = Ending(Fate.ANSWERED, said, share, 0, name, (), *_sent(request))
        return Delivery((Step("cluster", said),), ending)

    def _cluster_steps(self, cluster: Any, sources: tuple[Ref, ...]) -> Iterator[Step]:
        snapshot, parts = self.view.snapshot, ClusterName.parse(cluster.name)

        def decides(name: str) -> Place | None:
            return policy_place(snapshot, sources, parts.port, parts.subset, name)

        patched = tuple(patch_details(self.view, [(CLUSTER, cluster.name)]))
        place = subset_place(snapshot, sources, parts.subset) if parts.subset else None
        named = (Detail(f"cluster {cluster.name}"), *patched)
        yield Step("cluster", parts.text, place or _service(sources), named)
        yield _or_default("limits", ", ".join(limits_of(cluster)), decides("connectionPool"))
        budget = retry_budget_of(cluster)
        if budget:
            where = decides("retryBudget") or resilience_place(snapshot, cluster.name, "retryBudget")
            yield _or_default("retry budget", budget, where)
        outliers = outliers_of(cluster)
        if outliers:
            said = f"endpoints that fail are left out: {', '.join(outliers)}"
            yield Step("outliers", said, decides("outlierDetection"))
        yield _or_default("load balancing", balancing_of(cluster), decides("loadBalancer"))

    def _tls_steps(self, cluster: Any, securities: Iterable[Security]) -> Iterator[Step]:
        sources, parts = self.view.sources(CLUSTER, cluster.name), ClusterName.parse(cluster.name)
        place = policy_place(self.view.snapshot, sources, parts.port, parts.subset, "tls")
        for security in securities:
            expected = [Detail(f"expected: {name}") for name in security.expected[:_NAMES]]
            if len(security.expected) > _NAMES:
                expected.append(Detail(f"or one of {len(security.expected) - _NAMES} more"))
            automatic = "" if place is not None else " (automatic)"
            yield Step("TLS", _secured(security) + automatic, place, tuple(expected))

    def _find_out(self, cluster: Any, share: float, request: Request | None, steps: list[Step]) -> Delivery:
        """Envoy finds the addresses by itself."""
        names = resolved_names(cluster)
        said = f"the addresses of {', '.join(names)}, by DNS" if names else "the address that is called"
        steps += [*self._tls_steps(cluster, (security_of(cluster, {}),)), Step("endpoints", said)]
        ending = Ending(
            Fate.ANSWERED, f"answered by {said}", share, 0, cluster.name, tuple(names), *_sent(request)
        )
        return Delivery(tuple(steps), ending)

    def _choose(
        self,
        cluster: Any,
        upstreams: tuple[Upstream, ...],
        share: float,
        request: Request | None,
        steps: list[Step],
    ) -> Delivery:
        looked_at = [self._as_carried(item) for item in upstreams[:MOST]]
        arrivals = [self._arrive(item, cluster.name, request) for item in looked_at]
        pairs = list(zip(looked_at, arrivals, strict=True))
        details = [detail for item, arrival in pairs for detail in _endpoint(item, arrival)]
        if len(upstreams) > MOST:
            details.append(Detail(f"and {len(upstreams) - MOST} more, which were not looked at"))
        details += self._not_ready(cluster.name)
        steps += self._tls_steps(cluster, dict.fromkeys(item.security for item in upstreams))
        said = f"{len(upstreams)} ready" if upstreams else "none is ready"
        steps.append(Step("endpoints", said, None, tuple(details)))
        doubts = tuple(f"{workload_of(item)}: {doubt}" for item, made in pairs for doubt in made.doubts)
        takes = [(item, made) for item, made in pairs if made.accepted]
        ending = self._end(cluster.name, share, request, pairs, takes)
        return Delivery(tuple(steps), ending, doubts)

    def _as_carried(self, upstream: Upstream) -> Upstream:
        """What the endpoint sees of a connection that is not secured once more."""
        if self.carried is None or upstream.security.kind != "plain":
            return upstream
        return replace(upstream, security=self.carried)

    def _end(
        self,
        name: str,
        share: float,
        request: Request | None,
        pairs: list[tuple[Upstream, Arrival]],
        takes: list[tuple[Upstream, Arrival]],
    ) -> Ending:
        status = _UNAVAILABLE if request is not None else 0
        if not pairs:
            return Ending(Fate.REFUSED, "no endpoint is ready (no healthy upstream)", share, status, name)
        if not takes:
            said = f"no endpoint takes it: {pairs[0][1].text}"
            return Ending(Fate.REFUSED, said, share, status, name)
        answering = tuple(workload_of(item) for item, _ in takes)
        own = max(made.status for _, made in takes)
        said = f"answered by {', '.join(answering[:3])}" + (" …" if len(answering) > 3 else "")
        if len(takes) < len(pairs):
            said += f"; {len(pairs) - len(takes)} of {len(pairs)} endpoints do not take it"
        fate = Fate.REFUSED if own else Fate.ANSWERED
        return Ending(fate, said, share, own, name, answering, *_sent(request))

    def _arrive(self, upstream: Upstream, cluster: str, request: Request | None) -> Arrival:
        seen = self.observed.get((cluster, f"{upstream.address}:{upstream.port}"), "")
        if seen:
            return Arrival(False, f"left out now: {seen} (as the proxy says)")
        try:
            return arrive(self.view.snapshot, self.peers, upstream, request, self._caller())
        except CannotTell as error:
            return Arrival(True, "", doubts=(str(error),))

    def _caller(self) -> Attempt:
        """As the other end sees the workload."""
        client = self.view.proxy.workloads[0]
        domain = self.view.snapshot.settings.trust_domain
        identity = spiffe_id(domain, client.namespace, client.service_account)
        return Attempt(principals=(identity,), source=client.address, remote=client.address)

    def _not_ready(self, cluster: str) -> Iterator[Detail]:
        """Workloads that are left out since they are not ready."""
        parts, snapshot = ClusterName.parse(cluster), self.view.snapshot
        service = snapshot.services.get(parts.hostname)
        port = service.port(parts.port) if service is not None else None
        for item in snapshot.all_endpoints(service) if service is not None else ():
            if not item.healthy and port is not None and item.service_port == port.name:
                name = f"{item.namespace}/{item.workload}" if item.workload else item.address
                place = Ref("networking.istio.io", "WorkloadEntry", item.namespace, item.workload)
                where = Place.at(place, "status.conditions") if snapshot.resource(place) else None
                yield Detail(f"{name} is not ready and gets nothing", where)


def _or_default(topic: str, text: str, place: Place | None) -> Step:
    return Step(topic, text if place is not None else f"{text} (the default)", place)


def _service(sources: tuple[Ref, ...]) -> Place | None:
    found = [ref for ref in sources if ref.kind != "DestinationRule"]
    return Place.at(found[0]) if found else None


def _sent(request: Request | None) -> tuple[str, str]:
    return (request.path, request.authority) if request is not None else ("", "")


def _secured(security: Security) -> str:
    if security.proxy_protocol:
        return f"the PROXY protocol, then {_secured(replace(security, proxy_protocol=False))}"
    if security.kind == "plain":
        return "plain text"
    name = f" as {security.server_name}" if security.server_name else ""
    if security.kind == "mtls":
        return f"mutual TLS with the workload's own identity{name}"
    return f"TLS{name}" + ("" if security.verified else ", without verifying the server")


def _endpoint(upstream: Upstream, arrival: Arrival) -> Iterator[Detail]:
    """What becomes of a request there, and what else acts on it."""
    security = upstream.security
    how = {"plain": "plain text", "mtls": "mTLS", "tls": "TLS"}[security.kind]
    if security.kind == "tls" and not security.verified:
        how += " without verification"
    where = f"{upstream.address}:{upstream.port}"
    name = f"{upstream.namespace}/{upstream.workload} at {where}" if upstream.workload else where
    more = [f"priority {upstream.priority}"] if upstream.priority else []
    more += [f"locality {upstream.locality}"] if upstream.locality else []
    more += [f"weight {upstream.weight}"] if upstream.weight != 1 else []
    said = ", ".join([name, *more, how])
    verdict = arrival.text if arrival.accepted else f"REFUSED: {arrival.text}"
    yield Detail(f"{said}: {verdict}".rstrip(": "), arrival.place)
    for item in arrival.influences:
        yield Detail(f"{workload_of(upstream)}: {item.text}", item.place)
