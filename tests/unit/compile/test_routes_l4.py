"""TCP and TLS rules: no two filter chains may be for the same connections."""

import msgspec
import yaml

from marline.api.networking.virtual_service import VirtualServiceSpec
from marline.api.resource import ObjectMeta, Resource
from marline.compile.routes_active import Side
from marline.compile.routes_l4 import (
    L4Route,
    WeightedTarget,
    disjoint,
    tcp_rules,
    tls_rules,
    weighted,
)

SIDE = Side(9000, "mesh", {}, "default")
ONE, TWO = (WeightedTarget("one", 1),), (WeightedTarget("two", 1),)


def virtual_service(text: str) -> Resource[VirtualServiceSpec]:
    metadata = ObjectMeta(name="db", namespace="default")
    spec = msgspec.convert(yaml.safe_load(text), VirtualServiceSpec)
    return Resource("networking.istio.io", "v1", "VirtualService", metadata, spec)


def test_tcp_rules_end_with_the_first_without_conditions() -> None:
    rules = tcp_rules(
        virtual_service("""
tcp:
- match: [{port: 1}]
  route: [{destination: {host: other}}]
- match: [{port: 9000, destinationSubnets: [10.1.2.3/8]}]
  route: [{destination: {host: subnet}}]
- match: [{port: 9000}]
  route: [{destination: {host: all}}]
- route: [{destination: {host: never}}]
"""),
        SIDE,
    )
    assert [(rule.route[0].destination.host, rule.destination_subnets) for rule in rules] == [
        ("subnet", ("10.0.0.0/8",)), ("all", ()),
    ]  # fmt: skip


def test_tls_rules_are_by_name() -> None:
    rules = tls_rules(
        virtual_service("""
tls:
- match: [{sniHosts: [A.example.com, "*.b.example.com"]}, {port: 1, sniHosts: [c.example.com]}]
  route: [{destination: {host: secure}}]
"""),
        SIDE,
    )
    assert [rule.sni_hosts for rule in rules] == [("a.example.com", "*.b.example.com")]


def test_the_first_route_keeps_a_name_that_two_claim() -> None:
    routes = disjoint([L4Route(ONE, ("a", "b")), L4Route(TWO, ("b", "c")), L4Route(TWO, ("a",))])
    assert [(route.clusters, route.sni_hosts) for route in routes] == [(ONE, ("a", "b")), (TWO, ("c",))]


def test_names_and_subnets_are_claimed_together() -> None:
    routes = disjoint(
        [
            L4Route(ONE, ("a",), ("10.0.0.0/8",)),
            L4Route(TWO, ("a",)),
            L4Route(TWO, ("a", "b"), ("10.0.0.0/8",)),
        ]
    )
    assert [(route.sni_hosts, route.destination_subnets) for route in routes] == [
        (("a",), ("10.0.0.0/8",)), (("a",), ()), (("b",), ("10.0.0.0/8",)),
    ]  # fmt: skip


def test_a_second_route_for_everything_is_dropped() -> None:
    assert disjoint([L4Route(ONE), L4Route(TWO)]) == (L4Route(ONE),)


def test_weights_of_zero_take_nothing_but_a_single_destination_takes_all() -> None:
    assert weighted([("one", 0)]) == ONE
    assert weighted([("one", 3), ("two", 0)]) == (WeightedTarget("one", 3),)
