"""The virtual hosts that a sidecar gets for services."""

from typing import Any

from routing_mesh import built, mesh, service, sidecar

from marline.compile.routes import l4_routes, upstream_route_recipe, virtual_host_recipes
from marline.mesh.model import Capture, Proxy, Upstream
from marline.mesh.snapshot import MeshSnapshot

REVIEWS = "reviews.default.svc.cluster.local"
HEAD = "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"


def hosts(snapshot: MeshSnapshot, proxy: Proxy, hostname: str = REVIEWS) -> dict[str, Any]:
    return built(virtual_host_recipes(snapshot, proxy, snapshot.services[hostname]))


def clusters(host: Any) -> list[str]:
    return [route.route.cluster for route in host.routes]


def test_a_service_without_rules_gets_istios_defaults() -> None:
    (host,) = hosts(mesh(service("reviews", 9080)), sidecar()).values()
    assert host.name == f"9080/{REVIEWS}:9080"
    assert {"reviews", "reviews:9080", REVIEWS} <= set(host.domains)
    (route,) = host.routes
    assert (route.name, route.match.prefix) == ("default", "/")
    assert route.route.cluster == f"outbound|9080||{REVIEWS}"
    assert route.route.timeout.ToTimedelta().total_seconds() == 0
    retries = route.route.retry_policy
    assert retries.num_retries.value == 2
    assert retries.retry_on == "connect-failure,refused-stream,unavailable,cancelled"
    assert retries.retry_host_predicate[0].name == "envoy.retry_host_predicates.previous_hosts"
    assert retries.host_selection_retry_max_attempts == 5


def test_each_http_port_has_its_own_virtual_host() -> None:
    assert set(hosts(mesh(service("reviews", 80, 9080)), sidecar())) == {
        f"80/{REVIEWS}:80", f"9080/{REVIEWS}:9080",
    }  # fmt: skip


def test_rules_lead_to_subsets_and_to_the_only_port_of_other_services() -> None:
    rules = """
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - match: [{uri: {prefix: /ratings}}]
    route: [{destination: {host: ratings}}]
  - route: [{destination: {host: reviews.default.svc.cluster.local, subset: v1, port: {number: 9081}}}]
"""
    snapshot = mesh(service("reviews", 9080, 9081) + service("ratings", 7000) + f"---\n{HEAD}{rules}")
    assert clusters(hosts(snapshot, sidecar())[f"9080/{REVIEWS}:9080"]) == [
        f"outbound|9080|v2|{REVIEWS}",
        "outbound|7000||ratings.default.svc.cluster.local",
        f"outbound|9081|v1|{REVIEWS}",
    ]


def test_rules_for_gateways_only_leave_sidecars_alone() -> None:
    rules = "metadata: {name: reviews}\nspec: {hosts: [reviews], gateways: [edge], http: [{name: a}]}"
    snapshot = mesh(service("reviews", 9080) + f"---\n{HEAD}{rules}")
    (host,) = hosts(snapshot, sidecar()).values()
    assert clusters(host) == [f"outbound|9080||{REVIEWS}"]


def test_a_port_that_no_rule_is_for_keeps_the_default() -> None:
    rules = """
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http: [{match: [{port: 80}], route: [{destination: {host: other}}]}]
"""
    snapshot = mesh(service("reviews", 80, 9080) + f"---\n{HEAD}{rules}")
    made = hosts(snapshot, sidecar())
    assert clusters(made[f"9080/{REVIEWS}:9080"]) == [f"outbound|9080||{REVIEWS}"]
    assert clusters(made[f"80/{REVIEWS}:80"]) == ["outbound|80||other.default.svc.cluster.local"]


def test_consistent_hashing_is_a_policy_of_the_route_and_retries_stay_on_the_host() -> None:
    rule = """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy:
    loadBalancer: {consistentHash: {httpCookie: {name: user, ttl: 60s}}}
    portLevelSettings: [{port: {number: 9081}, loadBalancer: {consistentHash: {useSourceIp: true}}}]
"""
    made = hosts(mesh(service("reviews", 9080, 9081) + rule), sidecar())
    action = made[f"9080/{REVIEWS}:9080"].routes[0].route
    assert action.hash_policy[0].cookie.name == "user"
    assert not action.retry_policy.retry_host_predicate
    assert made[f"9081/{REVIEWS}:9081"].routes[0].route.hash_policy[0].connection_properties.source_ip


def test_an_http_proxy_tells_services_apart_by_port() -> None:
    made = hosts(mesh(service("reviews", 80, 9080)), sidecar(capture=Capture.EXPLICIT))
    assert "reviews" in made[f"http_proxy/{REVIEWS}:80"].domains
    assert "reviews" not in made[f"http_proxy/{REVIEWS}:9080"].domains
    assert "reviews:9080" in made[f"http_proxy/{REVIEWS}:9080"].domains


def test_an_upstream_listener_routes_everything_to_its_service_under_its_name() -> None:
    snapshot = mesh(service("reviews", 9080))
    upstream = Upstream("reviews", 9080, 40001)
    recipe = upstream_route_recipe(
        snapshot, sidecar(capture=Capture.EXPLICIT), upstream, snapshot.services[REVIEWS]
    )
    assert recipe is not None
    (table,) = built((recipe,)).values()
    assert table.name == "explicit_40001"  # type: ignore[attr-defined]
    (host,) = table.virtual_hosts  # type: ignore[attr-defined]
    assert list(host.domains) == ["*"]
    assert host.routes[0].route.host_rewrite_literal == "reviews:9080"


def test_tcp_traffic_is_shifted_by_weight() -> None:
    text = """
apiVersion: v1
kind: Service
metadata: {name: echo}
spec: {ports: [{name: tcp, port: 9000}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec:
  hosts: [echo]
  tcp:
  - route:
    - {destination: {host: echo, subset: v1}, weight: 80}
    - {destination: {host: echo, subset: v2}, weight: 20}
"""
    snapshot = mesh(text)
    echo = snapshot.services["echo.default.svc.cluster.local"]
    (route,) = l4_routes(snapshot, sidecar(), echo, echo.ports[0])
    assert [(item.cluster, item.weight) for item in route.clusters] == [
        (f"outbound|9000|v1|{echo.hostname}", 80), (f"outbound|9000|v2|{echo.hostname}", 20),
    ]  # fmt: skip
