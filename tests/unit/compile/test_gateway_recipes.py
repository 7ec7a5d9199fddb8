"""The listeners, route tables and Secrets of a gateway's proxy."""

from typing import Any

from routing_mesh import gateway_built, ingress, mesh, service

from marline.compile.gateway import gateway_recipes

GATEWAY = """
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: bookinfo}
spec:
  selector: {istio: ingressgateway}
  servers:
"""
HTTP = '  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}\n'
ROUTES = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bookinfo}
spec:
  hosts: ["*"]
  gateways: [bookinfo]
  http:
  - match: [{uri: {exact: /productpage}}, {uri: {prefix: /static}}]
    route: [{destination: {host: productpage, port: {number: 9080}}}]
"""


def virtual_service(name: str, host: str, http: str, namespace: str = "default") -> str:
    return f"""
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{hosts: ["{host}"], gateways: [default/bookinfo], http: {http}}}
"""


def resources(text: str, *ports: tuple[int, int]) -> dict[str, Any]:
    return gateway_built(mesh(text), ingress(*ports))


def domains(table: Any) -> dict[str, list[str]]:
    return {host.domains[0]: [route.name for route in host.routes] for host in table.virtual_hosts}


def test_the_gateway_of_bookinfo_listens_and_routes() -> None:
    made = resources(service("productpage", 9080) + GATEWAY + HTTP + ROUTES, (80, 18080))
    assert set(made) == {"127.0.0.1_18080", "http.80"}
    listener, table = made["127.0.0.1_18080"], made["http.80"]
    assert listener.address.socket_address.port_value == 18080
    assert [route.route.cluster for route in table.virtual_hosts[0].routes] == [
        "outbound|9080||productpage.default.svc.cluster.local"
    ] * 2


def test_ports_that_may_not_be_bound_are_moved_by_8000() -> None:
    assert "127.0.0.1_8080" in resources(GATEWAY + HTTP)


def test_a_gateway_without_the_selected_labels_has_nothing() -> None:
    assert gateway_recipes(mesh(GATEWAY + HTTP), ingress(app="other")) == ()


def test_servers_choose_hosts_and_the_namespaces_of_their_routes() -> None:
    servers = (
        "  - {port: {number: 80, name: http, protocol: HTTP}, hosts: "
        '["prod/*.example.com", "./own.example.org"]}\n'
    )
    text = (
        GATEWAY + servers
        + virtual_service("a", "a.example.com", "[{name: a}]", "prod")
        + virtual_service("b", "b.example.com", "[{name: b}]")
        + virtual_service("all", "*", "[{name: all}]")
        + virtual_service("wide", "*", "[{name: wide}]", "prod")
    )  # fmt: skip
    assert domains(resources(text)["http.80"]) == {
        "a.example.com": ["a"],
        "own.example.org": ["all"],
        "*.example.com": ["wide"],
    }


def test_rules_for_one_host_are_merged_oldest_first_and_catch_alls_last() -> None:
    text = (
        GATEWAY + HTTP
        + virtual_service("one", "x.com", "[{name: a, match: [{uri: {exact: /a}}]}, {name: rest}]")
        + virtual_service("two", "x.com", "[{name: b, match: [{uri: {exact: /b}}]}, {name: late}]")
    )  # fmt: skip
    assert domains(resources(text)["http.80"]) == {"x.com": ["a", "b", "rest", "late"]}


def test_https_redirect_is_said_for_every_host_of_the_server() -> None:
    server = (
        "  - {port: {number: 80, name: http, protocol: HTTP}, hosts: [x.com], tls: {httpsRedirect: true}}\n"
    )
    table = resources(GATEWAY + server)["http.80"]
    assert [(host.domains[0], host.require_tls) for host in table.virtual_hosts] == [("x.com", 2)]


def test_a_missing_secret_closes_its_own_server_only() -> None:
    servers = """
  - {port: {number: 443, name: a, protocol: HTTPS}, hosts: [a.com], tls: {mode: SIMPLE, credentialName: none}}
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}
"""
    made = resources(GATEWAY + servers + ROUTES)
    (chain,) = made["127.0.0.1_8443"].filter_chains
    assert list(chain.filter_chain_match.server_names) == ["a.com"]
    assert chain.filters[0].name == "envoy.filters.network.tcp_proxy"
    assert "http.80" in made


def test_passthrough_routes_by_sni() -> None:
    text = (
        GATEWAY
        + """
  - {port: {number: 443, name: tls, protocol: TLS}, hosts: ["*.raw.com"], tls: {mode: PASSTHROUGH}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: raw}
spec:
  hosts: [a.raw.com]
  gateways: [bookinfo]
  tls:
  - match: [{port: 443, sniHosts: [a.raw.com]}]
    route: [{destination: {host: raw, port: {number: 8443}}}]
"""
    )
    (chain,) = resources(text)["127.0.0.1_8443"].filter_chains
    assert list(chain.filter_chain_match.server_names) == ["a.raw.com"]
    assert b"outbound|8443||raw.default.svc.cluster.local" in chain.filters[0].typed_config.value


def test_of_two_servers_that_cannot_share_a_port_the_older_has_it() -> None:
    servers = """
  - {port: {number: 9000, name: tcp, protocol: TCP}, hosts: ["*"]}
  - {port: {number: 9000, name: http, protocol: HTTP}, hosts: ["*"]}
"""
    tcp = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: tcp}
spec: {hosts: ["*"], gateways: [bookinfo], tcp: [{match: [{port: 9000}], route: [{destination: {host: db}}]}]}
"""
    made = resources(GATEWAY + servers + tcp)
    assert set(made) == {"127.0.0.1_9000"}
