"""Gateway API Gateways and HTTPRoutes at a gateway's proxy."""

from typing import Any

from routing_mesh import gateway_built, ingress, mesh, service

from marline.compile.gateway import gateway_recipes

HEAD = "---\napiVersion: gateway.networking.k8s.io/v1\n"
GATEWAY = f"""
{HEAD}kind: Gateway
metadata: {{name: edge}}
spec:
  gatewayClassName: marline
  listeners:
  - {{name: http, port: 80, protocol: HTTP, hostname: "*.example.com"}}
  - {{name: one, port: 80, protocol: HTTP, hostname: one.example.com}}
  - name: tls
    port: 443
    protocol: HTTPS
    hostname: s.example.com
    tls: {{certificateRefs: [{{name: none}}]}}
"""


def route(
    name: str, rules: str, hostnames: str = "[]", section: str = "http", namespace: str = "default"
) -> str:
    return f"""
{HEAD}kind: HTTPRoute
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  parentRefs: [{{name: edge, namespace: default, sectionName: {section}}}]
  hostnames: {hostnames}
  rules: {rules}
"""


def resources(text: str, **labels: str) -> dict[str, Any]:
    return gateway_built(mesh(text), ingress(**labels))


def table(text: str) -> dict[str, list[Any]]:
    return {host.domains[0]: list(host.routes) for host in resources(text)["http.80"].virtual_hosts}


def test_routes_appear_under_the_hosts_that_they_share_with_their_listener() -> None:
    text = (
        service("web", 80) + GATEWAY
        + route("a", "[{backendRefs: [{name: web, port: 80}]}]", "[a.example.com, b.other.com]")
        + route("rest", "[{backendRefs: [{name: web, port: 80}]}]")
    )  # fmt: skip
    made = table(text)
    cluster = "outbound|80||web.default.svc.cluster.local"
    assert [item.route.cluster for item in made["a.example.com"]] == [cluster]
    assert [item.route.cluster for item in made["*.example.com"]] == [cluster]
    assert "b.other.com" not in made


def test_a_listener_without_routes_keeps_its_host_to_itself() -> None:
    made = table(GATEWAY + route("rest", "[{backendRefs: [{name: web, port: 80}]}]"))
    assert made["one.example.com"] == []


def test_a_broken_reference_answers_500() -> None:
    other = service("web", 80, namespace="prod")
    made = table(other + GATEWAY + route("a", "[{backendRefs: [{name: web, namespace: prod, port: 80}]}]"))
    assert made["*.example.com"][0].direct_response.status == 500


def test_a_grant_allows_references_into_its_namespace() -> None:
    grant = """
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: web, namespace: prod}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}]
  to: [{group: "", kind: Service}]
"""
    other = service("web", 80, namespace="prod") + grant
    made = table(other + GATEWAY + route("a", "[{backendRefs: [{name: web, namespace: prod, port: 80}]}]"))
    assert made["*.example.com"][0].route.cluster == "outbound|80||web.prod.svc.cluster.local"


def test_a_listener_without_usable_certificate_closes_connections() -> None:
    (chain,) = resources(GATEWAY)["127.0.0.1_8443"].filter_chains
    assert list(chain.filter_chain_match.server_names) == ["s.example.com"]
    assert chain.filters[0].name == "envoy.filters.network.tcp_proxy"


def test_gateways_of_other_classes_and_of_other_proxies_are_left_alone() -> None:
    assert resources(GATEWAY.replace("marline", "nginx")) == {}
    assert resources(GATEWAY, app="other") == {}
    name = {"gateway.networking.k8s.io/gateway-name": "edge"}
    proxy = ingress(namespace="default", **name)
    assert gateway_recipes(mesh(GATEWAY), proxy)
    assert not gateway_recipes(mesh(GATEWAY), ingress(namespace="elsewhere", **name))


def test_a_gateway_class_decides_who_serves_its_gateways() -> None:
    def declared(controller: str) -> str:
        head = f"{HEAD}kind: GatewayClass\nmetadata: {{name: own}}\n"
        return f"{head}spec: {{controllerName: {controller}}}\n" + GATEWAY.replace("marline", "own")

    assert resources(declared("marline.io/gateway-controller"))
    assert resources(declared("example.com/other")) == {}
