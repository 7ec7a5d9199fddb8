"""Envoy accepts compiled gateways as they are sent: with routes and Secrets over ADS."""

from typing import Any

import pytest
from google.protobuf import json_format
from routing_envoy import REPORTER, cluster, http_route, static_tables, validate, virtual_service

from marline.api.resource import Ref
from marline.compile.gateway_listener import build_listener
from marline.compile.gateway_plan import filter_chains, tables_of
from marline.compile.gateway_server import HostTable, Kind, Server
from marline.compile.gateway_tls import Termination
from marline.compile.routes_l4 import L4Route, WeightedTarget

GATEWAY = Ref("networking.istio.io", "Gateway", "edge", "gateway")
TABLE = (
    HostTable("*", (virtual_service("- route: [{destination: {host: app}}]"),)),
    HostTable("api.example", route_sets=(http_route("- backendRefs: [{name: app, port: 80}]"),)),
)
STRICT = Termination(
    ("kubernetes://edge/one", "kubernetes://edge/two"), "kubernetes://edge/one-cacert", ("spiffe://a/b",),
    (), ("a" * 64,), "TLSV1_2", "TLSV1_3", ("ECDHE-ECDSA-AES128-GCM-SHA256",),
)  # fmt: skip
CASES = {
    "http": [Server(Kind.HTTP, 80, GATEWAY, "http", table="http.80")],
    "tls": [
        Server(Kind.HTTPS, 443, GATEWAY, "a", ("a.example",), "https.a", termination=STRICT),
        Server(Kind.HTTPS, 443, GATEWAY, "b", ("a.example", "*.b.example"), "https.b", termination=STRICT),
        Server(Kind.HTTPS, 443, GATEWAY, "broken", ("c.example",), "https.c"),
        Server(
            Kind.PASSTHROUGH, 443, GATEWAY, "raw",
            l4=(
                L4Route((WeightedTarget("app", 1),), ("*.b.example", "d.example")),
                L4Route((WeightedTarget("app", 1), WeightedTarget("b", 2)), ("e.example",), ("10.0.0.0/8",)),
            ),
        ),
        Server(Kind.HTTPS, 443, GATEWAY, "rest", (), "https.rest", termination=STRICT),
    ],
    "tcp": [
        Server(
            Kind.TCP, 9000, GATEWAY, "tcp",
            l4=(
                L4Route((WeightedTarget("app", 1),), (), ("10.0.0.0/8", "fd00::/8"), ("192.168.0.0/16",)),
                L4Route((WeightedTarget("app", 1),)),
            ),
        )
    ],
}  # fmt: skip


def bootstrap(listener: dict[str, Any]) -> dict[str, Any]:
    ads = {"api_type": "DELTA_GRPC", "transport_api_version": "V3"}
    services = [{"envoy_grpc": {"cluster_name": "ads"}}]
    return {
        "node": {"id": "gateway", "cluster": "gateway"},
        "dynamic_resources": {"ads_config": {**ads, "grpc_services": services}},
        "static_resources": {
            "clusters": [cluster("ads", [1]), cluster("app", [2]), cluster("b", [3])],
            "listeners": [listener],
        },
    }


@pytest.mark.parametrize("case", CASES)
async def test_a_listener_of_each_kind_is_valid(case: str) -> None:
    chains = filter_chains(CASES[case], {})
    listener = build_listener("gateway", "127.0.0.1", 18080, chains, REPORTER)
    assert set(tables_of(CASES[case])) == {chain.table for chain in chains if chain.table}
    config = bootstrap(json_format.MessageToDict(listener))
    assert await validate(config) == ""


@pytest.mark.parametrize("case", ["http", "tls"])
async def test_the_route_tables_are_valid(case: str) -> None:
    chains = filter_chains(CASES[case], {})
    for table in static_tables(CASES[case], TABLE).values():
        listener = build_listener("gateway", "127.0.0.1", 18080, chains[:1], REPORTER)
        made = json_format.MessageToDict(listener)
        manager = made["filterChains"][0]["filters"][0]["typedConfig"]
        del manager["rds"]
        manager["routeConfig"] = table
        assert await validate(bootstrap(made)) == ""
