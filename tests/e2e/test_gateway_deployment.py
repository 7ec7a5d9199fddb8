"""A Gateway of the Gateway API gets a proxy of its own, unless an application file describes one."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from running_mesh import MODES, Mesh, eventually, running_mesh

SHOP = """
services:
  client:
    command: "{python} {apps}/caller.py {home}/client.sock"
    upstreams: [named-marline:8088]
  echo: {ports: [http:9080], command: "{python} {apps}/echo.py"}
"""
INGRESS = """
gateways:
  ingressgateway: {bind: 127.0.0.9, ports: [{port: 8088}]}
"""
GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: %s}
spec:
  gatewayClassName: marline
  listeners: [{name: web, port: 8088, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %s}
spec:
  parentRefs: [{name: %s}]
  rules: [{backendRefs: [{name: echo, port: 9080}]}]
"""


@pytest.fixture(scope="module", params=MODES)
def shop(request: pytest.FixtureRequest) -> Iterator[Mesh]:
    with running_mesh(request.param, SHOP) as mesh:
        yield mesh


def addresses(mesh: Mesh, name: str) -> list[str]:
    found = json.loads(mesh.marline("get", "gateways.gateway.networking.k8s.io", name, "-o", "json"))
    return [item["value"] for item in found.get("status", {}).get("addresses", [])]


def answer(address: str) -> int:
    connection = http.client.HTTPConnection(address, 8088, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def added(mesh: Mesh, name: str) -> str:
    """The address at which a new Gateway serves."""
    mesh.apply(GATEWAY % (name, name, name))
    (address,) = eventually(lambda: addresses(mesh, name), f"Gateway {name} has an address", mesh.home)
    eventually(lambda: answer(address) == 200, f"Gateway {name} serves", mesh.home)
    return str(address)


def proxies(mesh: Mesh) -> list[dict[str, Any]]:
    return [item for item in mesh.workloads() if item["kind"] == "gateway"]


def test_gateways_of_one_port_serve_at_addresses_of_their_own_until_they_are_deleted(shop: Mesh) -> None:
    first, second = added(shop, "one"), added(shop, "two")
    assert first != second
    shop.delete("gateways.gateway.networking.k8s.io", "two")
    eventually(lambda: answer(second) == 0, "the proxy of a deleted Gateway ends", shop.home)
    assert answer(first) == 200
    assert [item["service"] for item in proxies(shop)] == ["one-marline"]


def test_its_class_is_there_and_says_what_marline_can_do(shop: Mesh) -> None:
    def told() -> dict[str, Any]:
        made = json.loads(shop.marline("get", "gatewayclass", "marline", "-o", "json"))
        return dict(made.get("status", {}))

    status = eventually(told, "the class has a status", shop.home)
    assert {item["type"]: item["status"] for item in status["conditions"]}["Accepted"] == "True"
    assert "HTTPRoute" in [item["name"] for item in status["supportedFeatures"]]


INFRASTRUCTURE = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: named}
spec:
  gatewayClassName: marline
  infrastructure: {labels: {team: edge}, annotations: {contact: edge@shop.test}}
  listeners: [{name: web, port: 8088, protocol: HTTP}]
"""


@pytest.mark.proves(
    "gateway_api.GatewayInfrastructure.labels", "gateway_api.GatewayInfrastructure.annotations"
)
def test_workloads_reach_it_by_the_name_of_its_service_which_goes_with_it(shop: Mesh) -> None:
    added(shop, "named")
    shop.apply(INFRASTRUCTURE)

    def served() -> bool:
        return shop.caller("client").fetch("{NAMED_MARLINE_URL}/")[0]["status"] == 200

    eventually(served, "a workload reaches the Gateway by name", shop.home)
    metadata = json.loads(shop.marline("get", "service", "named-marline", "-o", "json"))["metadata"]
    assert metadata["labels"]["team"] == "edge"
    assert metadata["annotations"]["contact"] == "edge@shop.test"
    shop.delete("gateways.gateway.networking.k8s.io", "named")

    def gone() -> bool:
        return not json.loads(shop.marline("get", "services", "-l", "team=edge", "-o", "json"))["items"]

    eventually(gone, "the Service goes with the Gateway", shop.home)


def test_its_proxy_cannot_be_taken_down_but_with_it(shop: Mesh) -> None:
    added(shop, "kept")
    assert "delete that instead" in shop.marline("down", "kept-marline", ok=False)


def test_a_gateway_that_is_described_takes_its_place(shop: Mesh) -> None:
    own = added(shop, "moved")
    file = shop.home / "ingress.yaml"
    file.write_text(INGRESS)
    shop.marline("up", "-f", str(file))
    eventually(lambda: answer("127.0.0.9") == 200, "the described gateway serves it", shop.home)
    eventually(lambda: answer(own) == 0, "the Gateway's own proxy ends", shop.home)
    assert eventually(lambda: addresses(shop, "moved") == ["127.0.0.9"], "it is told", shop.home)
    shop.marline("down", "ingress")
    assert eventually(lambda: answer(own) == 200, "it has a proxy of its own again", shop.home)
