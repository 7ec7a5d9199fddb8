"""Which rules of a VirtualService a listener needs: those that can hold for its proxy at all.

Conditions on the listener's port, the gateway and the workload are decided here, when compiling;
Envoy only sees conditions on requests. What remains is a value (indices), so that all proxies for
which the same rules remain share one Envoy resource.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from marline.api.networking.virtual_service import (
    Destination,
    HTTPMatchRequest,
    HTTPRoute,
    VirtualServiceSpec,
)
from marline.api.resource import Ref, Resource
from marline.compile.rate_limits import RateLimiter, limit_routes
from marline.compile.routes_match import applies, is_catch_all
from marline.compile.routes_rules import rule_routes
from marline.compile.routes_targets import Target, Targets
from marline.mesh.delegation import Merged, RuleOrigin
from marline.mesh.gateway_names import MESH_GATEWAY, qualified_gateways
from marline.mesh.visibility import Scope

MESH: Final = MESH_GATEWAY


@dataclass(frozen=True, slots=True)
class Side:
    """Who asks: a listener port of one proxy, as the conditions of rules see it."""

    port: int
    gateway: str
    """`mesh`, or a gateway as `<namespace>/<name>`."""
    labels: Mapping[str, str]
    namespace: str
    tls: bool = False
    """TLS is terminated there."""
    scope: Scope | None = None
    """What it sees of the mesh; None: everything."""


@dataclass(frozen=True, slots=True)
class ActiveRule:
    index: int
    matches: tuple[int, ...]
    """Which of the rule's matches; empty: the rule has none, so it is for all requests."""


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules of one VirtualService that count on one side, with where they lead."""

    resource: Resource[VirtualServiceSpec]
    port: int
    """The port that requests were sent to."""
    rules: tuple[ActiveRule, ...]
    targets: Targets
    origins: tuple[RuleOrigin, ...] = ()
    """Where the rules are written, if some are delegates' (`mesh.delegation`)."""
    tls: bool = False
    """TLS is terminated where requests arrive."""
    limiters: tuple[RateLimiter | None, ...] = ()
    """The rate limits of each of the rules; none at sidecars."""

    @property
    def ref(self) -> Ref:
        return self.resource.ref

    def envoy_routes(self) -> list[Any]:
        """Envoy `Route`s in the order of the rules."""
        routes: list[Any] = []
        for number, active in enumerate(self.rules):
            rule, origin = self.resource.spec.http[active.index], self._origin(active.index)
            matches: list[tuple[str, HTTPMatchRequest | None]] = [(origin.field, None)]
            if active.matches:
                matches = [(origin.matches[index], rule.match[index]) for index in active.matches]
            made = rule_routes(rule, matches, self.targets, self.port, origin.resource, tls=self.tls)
            limit_routes(made, self.limiters, number, f"{origin.resource} {origin.field}")
            routes.extend(made)
        return routes

    def _origin(self, index: int) -> RuleOrigin:
        return Merged(self.resource, self.origins).origin(index)

    def leads_to(self) -> Iterator[Target]:
        return iter(self.targets)

    def written_in(self) -> list[tuple[Ref, str]]:
        """Of each rule the VirtualService in which it is written, and its name."""
        return [
            (self._origin(active.index).resource, self.resource.spec.http[active.index].name)
            for active in self.rules
        ]

    @property
    def sources(self) -> tuple[Ref, ...]:
        """The VirtualServices that say so."""
        return tuple(dict.fromkeys((self.ref, *(origin.resource for origin in self.origins))))


def active_rules(resource: Resource[VirtualServiceSpec], side: Side) -> tuple[ActiveRule, ...]:
    """The rules that can hold on a side, up to and including the first that holds for everything."""
    found: list[ActiveRule] = []
    for index, rule in enumerate(resource.spec.http):
        if not rule.match:
            found.append(ActiveRule(index, ()))
            break
        matches, final = _active_matches(rule, resource.namespace, side)
        if matches:
            found.append(ActiveRule(index, matches))
        if final:
            break
    return tuple(found)


def _active_matches(rule: HTTPRoute, namespace: str, side: Side) -> tuple[tuple[int, ...], bool]:
    matches: list[int] = []
    for index, match in enumerate(rule.match):
        gateways = qualified_gateways(match.gateways, namespace)
        if not applies(
            match,
            gateways,
            port=side.port,
            gateway=side.gateway,
            labels=side.labels,
            namespace=side.namespace,
        ):
            continue
        matches.append(index)
        if is_catch_all(match):
            return tuple(matches), True
    return tuple(matches), False


def destinations_of(spec: VirtualServiceSpec, rules: tuple[ActiveRule, ...]) -> list[Destination]:
    """All destinations that the given rules send to or mirror to, each once."""
    found: dict[Destination, None] = {}
    for active in rules:
        rule = spec.http[active.index]
        for item in rule.route:
            found[item.destination] = None
        if rule.mirror is not None:
            found[rule.mirror] = None
        for mirror in rule.mirrors:
            found[mirror.destination] = None
    return list(found)
