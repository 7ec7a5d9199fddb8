"""Connections that carry no readable HTTP: VirtualService `tcp` and `tls` rules as filter chain matches.

The listener builders make one filter chain of each `L4Route`, in order; Envoy picks the chain with
the most specific match, and refuses two chains with equal ones.
"""

import ipaddress
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar, cast

from marline.api.networking.destination_rule import TunnelSettings
from marline.api.networking.virtual_service import (
    L4MatchAttributes,
    RouteDestination,
    TLSMatchAttributes,
    VirtualServiceSpec,
)
from marline.api.resource import Ref, Resource
from marline.compile.routes_active import Side
from marline.compile.routes_match import applies
from marline.mesh.gateway_names import qualified_gateways


@dataclass(frozen=True, slots=True)
class WeightedTarget:
    cluster: str
    weight: int


@dataclass(frozen=True, slots=True)
class TcpSettings:
    """What a DestinationRule says of the connections to a destination, which Envoy wants to know where it
    accepts them. Spans are in seconds; None: Envoy's default."""

    idle_timeout: float | None = None
    max_duration: float | None = None
    tunnel: TunnelSettings | None = None
    by_source: bool = False
    """Connections of one source address go to one endpoint."""
    resolve_at: int = 0
    """The port of the host that the TLS client names, to which the connection goes; 0: no host is named."""


PLAIN_TCP: Final = TcpSettings()


@dataclass(frozen=True, slots=True)
class L4Route:
    """Connections that fulfil the conditions (all of those given) go to clusters by weight."""

    clusters: tuple[WeightedTarget, ...]
    sni_hosts: tuple[str, ...] = ()
    destination_subnets: tuple[str, ...] = ()
    source_subnets: tuple[str, ...] = ()
    source: Ref | None = None
    settings: TcpSettings = PLAIN_TCP

    @property
    def is_catch_all(self) -> bool:
        return not (self.sni_hosts or self.destination_subnets or self.source_subnets)


@dataclass(frozen=True, slots=True)
class L4Rule:
    """A rule whose conditions on the proxy hold, before its destinations are looked up."""

    route: tuple[RouteDestination, ...]
    sni_hosts: tuple[str, ...] = ()
    destination_subnets: tuple[str, ...] = ()
    source_subnets: tuple[str, ...] = ()


def tcp_rules(resource: Resource[VirtualServiceSpec], side: Side) -> list[L4Rule]:
    """The `tcp` rules of a VirtualService for a listener port, up to the first without conditions."""
    found: list[L4Rule] = []
    for rule in resource.spec.tcp:
        for match in rule.match or (L4MatchAttributes(),):
            if not _holds(match, resource.namespace, side):
                continue
            subnets = _networks(match.destination_subnets)
            sources = _networks((match.source_subnet,) if match.source_subnet else ())
            found.append(L4Rule(rule.route, (), subnets, sources))
            if not subnets and not sources:
                return found
    return found


def tls_rules(resource: Resource[VirtualServiceSpec], side: Side) -> list[L4Rule]:
    """The `tls` rules (by SNI) of a VirtualService for a listener port."""
    found: list[L4Rule] = []
    for rule in resource.spec.tls:
        for match in rule.match:
            if _holds(match, resource.namespace, side):
                subnets = _networks(match.destination_subnets)
                names = tuple(host.lower() for host in match.sni_hosts if host != "*")
                found.append(L4Rule(rule.route, names, subnets))
    return found


def _holds(match: L4MatchAttributes | TLSMatchAttributes, namespace: str, side: Side) -> bool:
    return applies(
        match,
        qualified_gateways(match.gateways, namespace),
        port=side.port,
        gateway=side.gateway,
        labels=side.labels,
        namespace=side.namespace,
    )


def _networks(subnets: Iterable[str]) -> tuple[str, ...]:
    """Without host bits and in one spelling, so that equal subnets are seen to be equal."""
    return tuple(str(ipaddress.ip_network(subnet, strict=False)) for subnet in subnets)


class Conditions(Protocol):
    """What decides which connections a filter chain is for."""

    @property
    def sni_hosts(self) -> tuple[str, ...]: ...
    @property
    def destination_subnets(self) -> tuple[str, ...]: ...
    @property
    def source_subnets(self) -> tuple[str, ...]: ...


ConditionsT = TypeVar("ConditionsT", bound=Conditions)


def disjoint(items: Iterable[ConditionsT]) -> tuple[ConditionsT, ...]:
    """Items (dataclasses) of which no two have an equal condition: the first that claims one keeps it.

    Envoy refuses a listener in which two chains are for the same connections.
    """
    claimed: set[tuple[str, str, str]] = set()
    found: list[ConditionsT] = []
    for item in items:
        wanted = list(
            itertools.product(
                item.sni_hosts or ("",), item.destination_subnets or ("",), item.source_subnets or ("",)
            )
        )
        free = [condition for condition in dict.fromkeys(wanted) if condition not in claimed]
        claimed.update(free)
        if len(free) == len(wanted):
            found.append(item)
        elif not item.destination_subnets and not item.source_subnets:
            found.extend([_with_sni(item, tuple(sni for sni, _, _ in free))] if free else [])
        else:
            found.extend(_with_condition(item, condition) for condition in free)
    return tuple(found)


def _with_sni(item: ConditionsT, sni_hosts: tuple[str, ...]) -> ConditionsT:
    changed: ConditionsT = replace(cast(Any, item), sni_hosts=sni_hosts)
    return changed


def _with_condition(item: ConditionsT, condition: tuple[str, str, str]) -> ConditionsT:
    sni, destination, source = ((value,) if value else () for value in condition)
    changed: ConditionsT = replace(
        cast(Any, item), sni_hosts=sni, destination_subnets=destination, source_subnets=source
    )
    return changed


def weighted(pairs: Iterable[tuple[str, int]]) -> tuple[WeightedTarget, ...]:
    """Clusters with their shares. One alone takes everything; of several, weight 0 takes nothing."""
    made = tuple(WeightedTarget(cluster, weight) for cluster, weight in pairs)
    if len(made) == 1:
        return (WeightedTarget(made[0].cluster, 1),)
    return tuple(item for item in made if item.weight > 0)
