"""Sessions of datagrams are shared out by the last digits of their source port."""

import re
from typing import Any

from envoy.extensions.filters.udp.udp_proxy.v3 import udp_proxy_pb2
from hypothesis import given
from hypothesis import strategies as st

from marline.compile.gateway_udp import build_udp_listener, shares
from marline.compile.routes_l4 import WeightedTarget


def _pattern(matching: Any) -> str:
    return str(matching.predicate.single_predicate.value_match.safe_regex.regex)


WEIGHTS = st.lists(st.integers(1, 1_000_000), min_size=1, max_size=16)


def targets(weights: list[int]) -> tuple[WeightedTarget, ...]:
    return tuple(WeightedTarget(f"cluster-{index}", weight) for index, weight in enumerate(weights))


@given(WEIGHTS)
def test_everyone_has_a_share_and_all_shares_are_given(weights: list[int]) -> None:
    found = shares(targets(weights))
    assert sum(found) == 100
    assert min(found) >= 1


@given(WEIGHTS)
def test_shares_follow_weights_as_far_as_hundredths_can(weights: list[int]) -> None:
    found = shares(targets(weights))
    for weight, share in zip(weights, found, strict=True):
        exact = weight * 100 / sum(weights)
        # Those that are raised to one hundredth take it from others.
        assert -len(weights) < share - exact <= 1


@given(WEIGHTS)
def test_each_source_port_has_one_cluster_and_clusters_have_their_shares(weights: list[int]) -> None:
    listener = build_udp_listener("udp", "127.0.0.1", 53, targets(weights))
    config = udp_proxy_pb2.UdpProxyConfig()
    assert listener.listener_filters[0].typed_config.Unpack(config)
    matched = [
        [port for port in range(40000, 40100) if re.fullmatch(_pattern(item), str(port))]
        for item in config.matcher.matcher_list.matchers
    ]
    assert [len(ports) for ports in matched] == list(shares(targets(weights))[:-1])
    assert len({port for ports in matched for port in ports}) == sum(map(len, matched))
