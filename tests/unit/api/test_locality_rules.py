"""Istio's rules for locality load balancing."""

from typing import Any

import pytest
from test_networking_rules import policy

SETTING = "loadBalancer.localityLbSetting"


def setting(**fields: Any) -> list[str]:
    found = policy(loadBalancer={"localityLbSetting": fields})
    return [path.removeprefix(SETTING).lstrip(".") for path in found]


def shares(to: dict[str, int], where: str = "eu") -> dict[str, Any]:
    return {"from": where, "to": to}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"distribute": [shares({"eu": 100})], "failover": [{"from": "a", "to": "b"}]}, ""),
        ({"distribute": [shares({"eu": 100})], "failoverPriority": ["a"]}, ""),
        ({"distribute": [shares({"eu": 100}), shares({"eu": 100}, "eu/a")]}, "distribute"),
        ({"distribute": [shares({"eu/*": 50, "eu/a": 50})]}, "distribute[0].to"),
        ({"distribute": [shares({"eu": 90})]}, "distribute[0].to"),
        ({"distribute": [shares({"eu": 100, "us": 0})]}, "distribute[0].to[us]"),
        ({"distribute": [shares({"*/a": 100})]}, "distribute[0].to[*/a]"),
        ({"distribute": [shares({"eu/a*": 100})]}, "distribute[0].to[eu/a*]"),
        ({"distribute": [shares({"eu//a": 100})]}, "distribute[0].to[eu//a]"),
        ({"distribute": [shares({"eu": 100}, "a/b/c/d")]}, "distribute[0].from"),
        ({"distribute": [{"from": "eu"}]}, "distribute[0].to"),
        ({"distribute": [{"to": {"eu": 100}}]}, "distribute[0].from"),
        ({"failover": [{"from": "eu", "to": "eu"}]}, "failover[0].to"),
        ({"failover": [{"from": "eu/a", "to": "us"}]}, "failover[0].from"),
        ({"failover": [{"from": "eu", "to": "*"}]}, "failover[0].to"),
        ({"failover": [{"from": "eu"}]}, "failover[0].to"),
        ({"failoverPriority": ["a", "a=b"]}, "failoverPriority[1]"),
        ({"failoverPriority": ["a b"]}, "failoverPriority[0][a b]"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_stands(fields: dict[str, Any], path: str) -> None:
    assert setting(**fields) == [path]


@pytest.mark.parametrize(
    "fields",
    [
        {"distribute": [shares({"eu/a/*": 80, "eu/b/*": 20}, "eu/a/*"), shares({"us": 100}, "us/*")]},
        {"failover": [{"from": "eu", "to": "us"}, {"from": "us", "to": "eu"}]},
        {"failover": [{"from": "eu", "to": "us"}], "failoverPriority": ["topology.istio.io/network", "a=b"]},
        {"enabled": False},
    ],
)
def test_the_forms_of_the_documentation_are_accepted(fields: dict[str, Any]) -> None:
    assert setting(**fields) == []
