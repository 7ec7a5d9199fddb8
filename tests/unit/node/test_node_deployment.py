"""Which Gateways get a proxy of their own, and what it is like."""

import yaml

from marline.api.decode import decode
from marline.mesh.model import ChangeSet, MeshSettings
from marline.mesh.snapshot import MeshSnapshot, advance, empty
from marline.node.deployment import deployed, undescribed
from marline.node.gateway_service import service_of
from marline.node.ports import beginning_with, loopback_addresses
from marline.node.workload import GatewaySpec

CLASS = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: %s}
spec: {controllerName: %s}
"""


def gateway(name: str, of: str = "marline", namespace: str = "shop") -> str:
    return f"""
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  gatewayClassName: {of}
  listeners: [{{name: web, port: 80, protocol: HTTP}}]
"""


def mesh(text: str) -> MeshSnapshot:
    resources = tuple(decode(obj) for obj in yaml.safe_load_all(text) if obj)
    return advance(empty(MeshSettings()), ChangeSet(resources, (), "1"))[0]


def names(text: str, *described: GatewaySpec) -> list[str]:
    return [spec.name for spec in deployed(undescribed(mesh(text), described)).gateways]


def test_a_proxy_has_the_gateways_name_in_a_label_and_an_address_of_its_own() -> None:
    (spec,) = deployed(undescribed(mesh(gateway("edge")), ())).gateways
    assert (spec.name, spec.namespace, spec.bind, spec.ports) == ("edge-marline", "shop", "", ())
    assert spec.labels == {"gateway.networking.k8s.io/gateway-name": "edge"}


def test_only_gateways_of_our_classes_get_one() -> None:
    of_others = CLASS % ("marline", "example.com/other")
    ours = "---" + CLASS % ("own", "marline.io/gateway-controller")
    assert names(gateway("a") + gateway("b", "istio") + gateway("c", "nginx")) == ["a-marline", "b-istio"]
    assert names(of_others + ours + gateway("a") + gateway("d", "own")) == ["d-own"]


def test_the_default_ingress_gateway_serves_all_of_them() -> None:
    assert names(gateway("a") + gateway("b"), GatewaySpec("ingressgateway")) == []
    assert names(gateway("a"), GatewaySpec("egressgateway")) == ["a-marline"]


def test_a_gateway_that_is_described_by_name_needs_no_other() -> None:
    labels = {"gateway.networking.k8s.io/gateway-name": "a"}
    here = GatewaySpec("front", namespace="shop", labels=labels)
    elsewhere = GatewaySpec("front", namespace="prod", labels=labels)
    assert names(gateway("a") + gateway("b"), here) == ["b-marline"]
    assert names(gateway("a"), elsewhere) == ["a-marline"]


def test_each_owner_prefers_its_own_address_every_time_and_may_have_any() -> None:
    first = [next(iter(loopback_addresses(f"shop/{name}"))) for name in "abc"]
    assert first == [next(iter(loopback_addresses(f"shop/{name}"))) for name in "abc"]
    assert len(set(first)) == 3
    assert all(address.startswith("127.77.") for address in first)
    assert sorted(beginning_with("shop/a", range(9))) == list(range(9))


INFRASTRUCTURE = """
  infrastructure:
    labels: {team: edge}
    annotations: {contact: edge@shop.test}
"""


def test_its_service_bears_the_gateways_infrastructure_and_belongs_to_it() -> None:
    (found,) = undescribed(mesh(gateway("edge") + INFRASTRUCTURE), ())
    made = service_of(found, "edge-marline", "laptop", is_root=True)
    assert made is not None
    metadata = made["metadata"]
    assert metadata["labels"] == {"team": "edge", "gateway.networking.k8s.io/gateway-name": "edge"}
    assert metadata["annotations"]["contact"] == "edge@shop.test"
    assert [owner["name"] for owner in metadata["ownerReferences"]] == ["edge"]
    assert made["spec"]["ports"] == [{"name": "http-80", "port": 80, "protocol": "TCP", "targetPort": 80}]
    (proxy,) = deployed([found]).gateways
    assert proxy.labels["team"] == "edge"


def test_a_service_leads_to_where_an_ordinary_users_proxy_listens() -> None:
    (found,) = undescribed(mesh(gateway("edge")), ())
    made = service_of(found, "edge-marline", "laptop", is_root=False)
    assert made is not None
    assert made["spec"]["ports"][0]["targetPort"] == 8080
