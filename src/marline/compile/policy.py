"""What DestinationRules say about one port of one subset, all levels merged.

Istio, "DestinationRule" reference: a subset's policy overrides the rule's field by field; settings for a
port replace both entirely ("not inherited when overridden by port-level settings"), but for what they
cannot say: tunnels, the PROXY protocol, retry budgets.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from marline.api.networking.destination_rule import (
    ClientTLSSettings,
    ConnectionPoolSettings,
    ConsistentHash,
    LoadBalancerSettings,
    OutlierDetection,
    PortTrafficPolicy,
    ProxyProtocol,
    RetryBudget,
    TrafficPolicy,
    TunnelSettings,
)
from marline.mesh.destinations import DestinationPolicy
from marline.mesh.model import Endpoint, Service

Policy = TrafficPolicy | PortTrafficPolicy


@dataclass(frozen=True, slots=True)
class Effective:
    """The settings that count; None: Istio's default."""

    load_balancer: LoadBalancerSettings | None = None
    pool: ConnectionPoolSettings | None = None
    outliers: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None
    tunnel: TunnelSettings | None = None
    proxy_protocol: ProxyProtocol | None = None
    retry_budget: RetryBudget | None = None

    @property
    def hash(self) -> ConsistentHash | None:
        """By what requests are hashed: Envoy wants to know it at the route that leads to the cluster."""
        return self.load_balancer.consistent_hash if self.load_balancer is not None else None


DEFAULTS: Final = Effective()


_BY_CLIENT: Final = LoadBalancerSettings(consistent_hash=ConsistentHash(use_source_ip=True))


def effective(
    rule: DestinationPolicy | None, port: int, subset: str, *, by_client: bool = False
) -> Effective:
    """`by_client`: a service itself wants all calls of a client at one endpoint (Kubernetes'
    `sessionAffinity`), unless a rule says how it is balanced."""
    found = _merged(rule, port, subset) if rule is not None else DEFAULTS
    return replace(found, load_balancer=_BY_CLIENT) if by_client and not found.load_balancer else found


def _merged(rule: DestinationPolicy, port: int, subset: str) -> Effective:
    merged = _apply(DEFAULTS, rule.traffic_policy, port)
    named = rule.subset(subset) if subset else None
    return _apply(merged, named.traffic_policy if named is not None else None, port)


def every_policy(rule: DestinationPolicy | None, service: Service) -> Iterator[Effective]:
    """Those of all ports and subsets of a service."""
    for port in service.ports:
        for subset in subset_names(rule):
            yield effective(rule, port.number, subset)


def subset_names(rule: DestinationPolicy | None) -> tuple[str, ...]:
    """ "" for the whole service, then each subset."""
    return ("", *(item.name for item in rule.subsets())) if rule is not None else ("",)


def _apply(base: Effective, policy: TrafficPolicy | None, port: int) -> Effective:
    if policy is None:
        return base
    everywhere = (
        policy.tunnel or base.tunnel,
        policy.proxy_protocol or base.proxy_protocol,
        policy.retry_budget or base.retry_budget,
    )
    for item in policy.port_level_settings:
        if item.port is not None and item.port.number == port:
            own = (item.load_balancer, item.connection_pool, item.outlier_detection, item.tls)
            return Effective(*own, *everywhere)
    return Effective(
        policy.load_balancer or base.load_balancer,
        policy.connection_pool or base.pool,
        policy.outlier_detection or base.outliers,
        policy.tls or base.tls,
        *everywhere,
    )


def in_subset(endpoint: Endpoint, rule: DestinationPolicy | None, subset: str) -> bool:
    """Has an endpoint the labels of a subset?"""
    named = rule.subset(subset) if rule is not None and subset else None
    return named is None or named.labels.items() <= dict(endpoint.labels).items()
