"""How a cluster chooses an endpoint (istio.io, `LoadBalancerSettings`; Envoy, "Supported load balancers")."""

from typing import Any, Final

from envoy.config.cluster.v3 import cluster_pb2

from marline.api.networking.destination_rule import ConsistentHash, LoadBalancerSettings
from marline.compile.locality import is_weighted
from marline.compile.policy import Effective
from marline.compile.routes_targets import duration

_RING_SIZE: Final = 1024
"""Istio's default minimum."""
_MIN_WARM_PERCENT: Final = 10.0
_LINEAR: Final = 1.0
_AGGRESSION_KEY: Final = "marline.warmup.aggression"
"""Envoy wants the name of a runtime value; nobody sets it, so the rule's is the one that counts."""


def set_balancing(cluster: Any, settings: Effective) -> None:
    """Least request unless a rule says otherwise."""
    balancing = settings.load_balancer or LoadBalancerSettings()
    policy = cluster_pb2.Cluster.LbPolicy
    if balancing.consistent_hash is not None:
        _set_hashing(cluster, balancing.consistent_hash)
    elif balancing.simple == "RANDOM":
        cluster.lb_policy = policy.RANDOM
    elif balancing.simple == "ROUND_ROBIN":
        cluster.lb_policy = policy.ROUND_ROBIN
        _set_warmup(cluster.round_robin_lb_config, balancing)
    else:
        cluster.lb_policy = policy.LEAST_REQUEST
        _set_warmup(cluster.least_request_lb_config, balancing)
    if is_weighted(settings):
        cluster.common_lb_config.locality_weighted_lb_config.SetInParent()


def _set_warmup(config: Any, balancing: LoadBalancerSettings) -> None:
    """New endpoints get few requests first, and more as time goes (Envoy, "Slow start mode")."""
    warmup = balancing.warmup
    if warmup is not None:
        slow = config.slow_start_config
        slow.slow_start_window.CopyFrom(duration(warmup.duration))
        slow.aggression.default_value = _LINEAR if warmup.aggression is None else warmup.aggression
        slow.aggression.runtime_key = _AGGRESSION_KEY
        least = _MIN_WARM_PERCENT if warmup.minimum_percent is None else warmup.minimum_percent
        slow.min_weight_percent.value = least
    elif balancing.warmup_duration_secs is not None:
        config.slow_start_config.slow_start_window.CopyFrom(duration(balancing.warmup_duration_secs))


def _set_hashing(cluster: Any, hashing: ConsistentHash) -> None:
    policy = cluster_pb2.Cluster.LbPolicy
    if hashing.maglev is not None:
        cluster.lb_policy = policy.MAGLEV
        if hashing.maglev.table_size:
            cluster.maglev_lb_config.table_size.value = hashing.maglev.table_size
    else:
        cluster.lb_policy = policy.RING_HASH
        asked = hashing.ring_hash.minimum_ring_size if hashing.ring_hash is not None else 0
        cluster.ring_hash_lb_config.minimum_ring_size.value = asked or hashing.minimum_ring_size or _RING_SIZE
