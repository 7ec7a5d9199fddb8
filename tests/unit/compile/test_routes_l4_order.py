"""Envoy, which looks for the most specific chain, takes the rule that came first."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from marline.compile.routes_l4 import L4Route, WeightedTarget
from marline.compile.routes_l4_order import in_order

SUBNETS = ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "fd00::/8")
NAMES = ("a.example.com", "*.example.com", "*.com", "b.org")
ADDRESSES = ("10.9.9.9", "10.1.9.9", "10.1.2.9", "192.0.2.1", "fd00::1")
ASKED = ("a.example.com", "z.example.com", "z.com", "b.org", "c.net", "")

conditions = st.lists(st.sampled_from(SUBNETS), max_size=2, unique=True).map(tuple)
rules = st.lists(
    st.tuples(st.lists(st.sampled_from(NAMES), max_size=2, unique=True).map(tuple), conditions, conditions),
    min_size=1,
    max_size=5,
)


def route(index: int, rule: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]) -> L4Route:
    return L4Route((WeightedTarget(str(index), 1),), *rule)


def within(address: str, subnet: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(subnet)


def named(pattern: str, name: str) -> bool:
    return name == pattern or (pattern.startswith("*.") and name.endswith(pattern[1:]))


def first(routes: list[L4Route], name: str, destination: str, source: str) -> str:
    for item in routes:
        if (
            (not item.sni_hosts or any(named(host, name) for host in item.sni_hosts))
            and (
                not item.destination_subnets or any(within(destination, s) for s in item.destination_subnets)
            )
            and (not item.source_subnets or any(within(source, s) for s in item.source_subnets))
        ):
            return item.clusters[0].cluster
    return ""


def envoys(routes: tuple[L4Route, ...], name: str, destination: str, source: str) -> str:
    """As the documentation of `FilterChainMatch` says: each step keeps the most specific chains only."""
    left = _closest(list(routes), destination, "destination_subnets")
    names = {host for item in left for host in item.sni_hosts if named(host, name)}
    best = max(names, key=lambda host: (not host.startswith("*"), len(host)), default="")
    left = [item for item in left if (best in item.sni_hosts if best else not item.sni_hosts)]
    left = _closest(left, source, "source_subnets")
    return left[0].clusters[0].cluster if left else ""


def _closest(routes: list[L4Route], address: str, field: str) -> list[L4Route]:
    fitting = {subnet for item in routes for subnet in getattr(item, field) if within(address, subnet)}
    best = max(fitting, key=lambda subnet: int(subnet.partition("/")[2]), default="")
    return [item for item in routes if (best in getattr(item, field) if best else not getattr(item, field))]


@given(rules, st.sampled_from(ASKED), st.sampled_from(ADDRESSES), st.sampled_from(ADDRESSES))
def test_the_first_rule_that_holds_is_the_one_that_envoy_takes(
    made: list[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]],
    name: str,
    destination: str,
    source: str,
) -> None:
    routes = [route(index, rule) for index, rule in enumerate(made)]
    assert envoys(in_order(routes), name, destination, source) == first(routes, name, destination, source)


@given(rules)
def test_no_two_chains_have_an_equal_condition(
    made: list[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]],
) -> None:
    seen: set[tuple[str, str, str]] = set()
    for item in in_order([route(index, rule) for index, rule in enumerate(made)]):
        for destination in item.destination_subnets or ("",):
            for source in item.source_subnets or ("",):
                for host in item.sni_hosts or ("",):
                    assert (destination, source, host) not in seen
                    seen.add((destination, source, host))


def test_rules_that_do_not_overlap_stay_as_they_are() -> None:
    routes = [route(0, (("a.example.com", "b.org"), (), ())), route(1, ((), (), ()))]
    assert in_order(routes) == tuple(routes)
