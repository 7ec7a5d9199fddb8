"""Which rule counts for whom: DestinationRules, VirtualServices, PeerAuthentications, Sidecars, exportTo."""

from typing import Any

import pytest
from mesh_resources import changed, mesh, resource, service, workload

from marline.mesh.authentication import MtlsMode
from marline.mesh.model import Capture, MeshSettings, Proxy, Role, Workload
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.visibility import Scope

REVIEWS = "reviews.default.svc.cluster.local"


def rule(name: str, namespace: str = "default", host: str = REVIEWS, **spec: Any) -> Any:
    return resource("DestinationRule", name, namespace, host=host, **spec)


def simple(name: str) -> dict[str, Any]:
    return {"loadBalancer": {"simple": name}}


def proxy_in(namespace: str, role: Role = Role.SIDECAR) -> Proxy:
    return Proxy("p", role, Capture.TRANSPARENT, (Workload(namespace, "w"),))


def chosen(snapshot: MeshSnapshot, namespace: str, **labels: str) -> list[str]:
    found = snapshot.destination_rule(REVIEWS, namespace, labels)
    return [ref.name for ref in found.sources] if found is not None else []


def test_a_rule_of_the_clients_namespace_counts_before_the_services_and_the_roots() -> None:
    rules = [rule("client", "web"), rule("service"), rule("root", "istio-system")]
    snapshot = mesh(service("reviews"), *rules)
    assert [chosen(snapshot, name) for name in ("web", "default", "else")] == [
        ["client"], ["service"], ["service"],
    ]  # fmt: skip
    assert chosen(mesh(service("reviews"), rules[2]), "web") == ["root"]


def test_a_rule_is_seen_where_it_is_exported_to() -> None:
    snapshot = mesh(service("reviews"), rule("own", exportTo=["."]))
    assert (chosen(snapshot, "default"), chosen(snapshot, "web")) == (["own"], [])


def test_an_exact_host_counts_before_a_wildcard() -> None:
    snapshot = mesh(service("reviews"), rule("wide", host="*.default.svc.cluster.local"))
    assert chosen(snapshot, "default") == ["wide"]
    after, impact = changed(snapshot, rule("exact", host="reviews"))
    assert (chosen(after, "default"), impact.hosts) == (["exact"], {REVIEWS})


def test_a_rule_for_selected_clients_replaces_the_others_for_those() -> None:
    selector = {"matchLabels": {"app": "web"}}
    rules = [
        rule("all"),
        rule("selected", workloadSelector=selector, created="2026-01-01T00:00:00Z"),
        rule("other", workloadSelector={"matchLabels": {"app": "db"}}, created="2026-01-02T00:00:00Z"),
        rule("selected-too", workloadSelector=selector, created="2026-01-03T00:00:00Z"),
    ]
    snapshot = mesh(service("reviews"), *rules)
    assert chosen(snapshot, "default") == ["all"]
    assert chosen(snapshot, "default", app="web", version="v1") == ["selected", "selected-too"]
    assert chosen(snapshot, "default", app="db") == ["other"]


def test_a_workload_selector_means_nothing_to_clients_of_other_namespaces() -> None:
    selective = rule("selected", workloadSelector={"matchLabels": {"app": "web"}})
    snapshot = mesh(service("reviews"), selective, rule("root", "istio-system"))
    assert chosen(snapshot, "elsewhere", app="web") == ["root"]
    assert chosen(snapshot, "default", app="web") == ["selected"]
    assert chosen(snapshot, "default", app="db") == ["root"]


def test_rules_of_one_namespace_for_one_host_are_merged_oldest_first() -> None:
    first = rule("b", created="2026-01-01T00:00:00Z", trafficPolicy=simple("RANDOM"),
                 subsets=[{"name": "v1", "labels": {"version": "v1"}}])  # fmt: skip
    second = rule("a", created="2026-01-02T00:00:00Z", trafficPolicy=simple("ROUND_ROBIN"),
                  subsets=[{"name": "v1", "labels": {"version": "x"}}, {"name": "v2"}])  # fmt: skip
    found = mesh(service("reviews"), second, first).destination_rule(REVIEWS, "default", {})
    assert found is not None
    assert found.traffic_policy is not None and found.traffic_policy.load_balancer is not None
    assert found.traffic_policy.load_balancer.simple == "RANDOM"
    assert [(item.name, item.labels) for item in found.subsets()] == [("v1", {"version": "v1"}), ("v2", {})]


def route(name: str, *hosts: str, **fields: Any) -> Any:
    return resource("VirtualService", name, hosts=list(hosts),
                    http=[{"route": [{"destination": {"host": "ratings"}}]}], **fields)  # fmt: skip


def test_the_oldest_virtual_service_for_the_most_specific_host_counts() -> None:
    snapshot = mesh(
        service("reviews"),
        route("new", "reviews", created="2026-02-01T00:00:00Z"),
        route("old", "reviews", created="2026-01-01T00:00:00Z"),
        route("wide", "*.default.svc.cluster.local", created="2025-01-01T00:00:00Z"),
        route("gateway", "reviews", gateways=["ingress"], created="2024-01-01T00:00:00Z"),
    )
    found = snapshot.virtual_service(REVIEWS, Scope("default"))
    assert found is not None and found.name == "old"


def test_a_change_of_a_destination_touches_the_routes_that_lead_there() -> None:
    snapshot = mesh(service("reviews"), service("ratings"), route("r", "reviews"))
    _, impact = changed(snapshot, rule("hash", host="ratings", trafficPolicy=simple("RANDOM")))
    assert impact.hosts == {REVIEWS, "ratings.default.svc.cluster.local"}


def test_a_host_without_service_is_unknown_until_it_has_one() -> None:
    snapshot = mesh(route("r", "legacy"))
    assert list(snapshot.unknown_hosts(Scope("default"))) == ["legacy.default.svc.cluster.local"]
    after, _ = changed(snapshot, service("legacy"))
    assert list(after.unknown_hosts(Scope("default"))) == []


def peer(name: str, namespace: str = "default", **spec: Any) -> Any:
    return resource("PeerAuthentication", name, namespace, **spec)


def mode(value: str) -> dict[str, Any]:
    return {"mtls": {"mode": value}}


def for_reviews() -> dict[str, Any]:
    return {"selector": {"matchLabels": {"app": "reviews"}}}


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([], MtlsMode.STRICT),
        ([peer("m", "istio-system", **mode("PERMISSIVE"))], MtlsMode.PERMISSIVE),
        (
            [peer("m", "istio-system", **mode("DISABLE")), peer("n", **mode("PERMISSIVE"))],
            MtlsMode.PERMISSIVE,
        ),
        ([peer("m", "istio-system", **mode("DISABLE")), peer("n", **mode("UNSET"))], MtlsMode.DISABLE),
        (
            [peer("n", **mode("DISABLE")), peer("w", **for_reviews(), **mode("STRICT"))],
            MtlsMode.STRICT,
        ),
        (
            [peer("w", selector={"matchLabels": {"app": "other"}}, **mode("DISABLE"))],
            MtlsMode.STRICT,
        ),
        ([peer("n", "other", **mode("DISABLE"))], MtlsMode.STRICT),
    ],
)  # fmt: skip
def test_the_narrowest_authentication_policy_counts(policies: list[Any], expected: MtlsMode) -> None:
    assert mesh(*policies).peer_policy("default", {"app": "reviews"}).mode is expected


def test_a_port_may_differ_from_its_workload() -> None:
    policy = peer("w", selector={"matchLabels": {"app": "reviews"}}, **mode("STRICT"),
                  portLevelMtls={9080: {"mode": "DISABLE"}, 9090: {"mode": "UNSET"}})  # fmt: skip
    snapshot = mesh(policy, service("reviews"), workload("reviews"))
    found = snapshot.peer_policy("default", {"app": "reviews"})
    assert [found.for_port(number) for number in (9080, 9090, 1)] == [
        MtlsMode.DISABLE, MtlsMode.STRICT, MtlsMode.STRICT,
    ]  # fmt: skip
    (endpoint,) = snapshot.endpoints(snapshot.services[REVIEWS])
    assert not snapshot.calls_with_mtls(endpoint, snapshot.services[REVIEWS].ports[0])


def sidecar(*hosts: str, **spec: Any) -> Any:
    return resource("Sidecar", "s", egress=[{"hosts": list(hosts)}], **spec)


@pytest.mark.parametrize(
    ("hosts", "seen"),
    [
        (["./*"], {REVIEWS}),
        (["*/*"], {REVIEWS, "ratings.other.svc.cluster.local"}),
        (["other/*"], {"ratings.other.svc.cluster.local"}),
        (["*/reviews.default.svc.cluster.local"], {REVIEWS}),
        (["~/*"], set()),
    ],
)
def test_a_sidecar_narrows_what_its_workloads_see(hosts: list[str], seen: set[str]) -> None:
    snapshot = mesh(service("reviews"), service("ratings", namespace="other"), sidecar(*hosts))
    scope = snapshot.scope(proxy_in("default"))
    assert {item.hostname for item in snapshot.services.values() if scope.sees(item)} == seen


def test_sidecars_of_the_root_namespace_leave_gateways_their_view() -> None:
    general = resource("Sidecar", "all", "istio-system", egress=[{"hosts": ["./*"]}],
                       outboundTrafficPolicy={"mode": "REGISTRY_ONLY"})  # fmt: skip
    snapshot = mesh(service("reviews"), general)
    seen = [
        snapshot.service(REVIEWS, snapshot.scope(proxy_in("istio-system", role))) is not None
        for role in (Role.SIDECAR, Role.GATEWAY)
    ]
    assert seen == [False, True]
    assert snapshot.scope(proxy_in("istio-system", Role.GATEWAY)) == Scope("istio-system")


RATINGS = "ratings.other.svc.cluster.local"


@pytest.mark.parametrize(
    ("hosts", "counts", "leads"),
    [
        (["./*"], True, True),
        ([f"default/{REVIEWS}"], True, True),
        ([f"./{REVIEWS}"], True, True),
        (["other/*"], False, True),
        (["*/*"], True, True),
        (["./details.default.svc.cluster.local"], False, False),
    ],
)
def test_a_sidecar_names_rules_as_services_and_shows_where_they_lead(
    hosts: list[str], counts: bool, leads: bool
) -> None:
    snapshot = mesh(
        service("reviews"), service("ratings", namespace="other"), sidecar(*hosts),
        resource("VirtualService", "v", hosts=["reviews"],
                 http=[{"route": [{"destination": {"host": RATINGS}}]}]),
    )  # fmt: skip
    scope = snapshot.scope(proxy_in("default"))
    assert (snapshot.virtual_service(REVIEWS, scope) is not None) is counts
    assert (snapshot.service(RATINGS, scope) is not None) is leads


def test_a_change_of_rules_touches_where_they_lead_if_somebody_has_a_sidecar() -> None:
    both = [service("reviews"), service("ratings", "tcp:7000", namespace="other"), sidecar("./*")]
    delegating = [{"delegate": {"name": "parts"}}]
    parts = resource("VirtualService", "parts", http=[{"route": [{"destination": {"host": RATINGS}}]}])
    snapshot = mesh(*both, parts)
    after, impact = changed(snapshot, resource("VirtualService", "v", hosts=["reviews"], http=delegating))
    seen = [item.service(RATINGS, item.scope(proxy_in("default"))) is not None for item in (snapshot, after)]
    assert seen == [False, True]
    assert RATINGS in impact.hosts
    assert (7000 in impact.ports, ("10.96.0.1", 7000) in impact.addresses) == (True, True)


def test_a_sidecar_shows_where_the_routes_of_its_services_lead() -> None:
    backends = [{"backendRefs": [{"name": "ratings", "namespace": "other", "port": 7000}]}]

    def route(namespace: str) -> Any:
        parent = {"group": "", "kind": "Service", "name": "reviews", "namespace": "default"}
        return resource("HTTPRoute", "r", namespace, parentRefs=[parent], rules=backends)

    snapshot = mesh(service("ratings", "tcp:7000", namespace="other"), sidecar("./*"))
    steps = [service("reviews"), route("web"), route("default")]
    seen, ports = [], []
    for item in steps:
        snapshot, impact = changed(snapshot, item)
        seen.append(snapshot.service(RATINGS, snapshot.scope(proxy_in("default"))) is not None)
        ports.append(7000 in impact.ports)
    assert seen == [False, False, True]
    assert ports == [False, True, True]


def test_new_shares_do_not_touch_the_listeners_of_where_rules_lead() -> None:
    def shares(first: int) -> Any:
        weights = zip((REVIEWS, RATINGS), (first, 100 - first), strict=True)
        to = [{"destination": {"host": host}, "weight": weight} for host, weight in weights]
        return resource("VirtualService", "v", hosts=["reviews"], http=[{"route": to}])

    both = [service("reviews"), service("ratings", "tcp:7000", namespace="other")]
    _, impact = changed(mesh(*both, sidecar("./*"), shares(90)), shares(80))
    assert (REVIEWS in impact.hosts, 7000 in impact.ports) == (True, False)


def test_a_sidecar_touches_the_workloads_of_its_namespace_the_roots_all() -> None:
    snapshot = mesh(service("reviews"))
    _, own = changed(snapshot, sidecar("./*"))
    _, general = changed(snapshot, resource("Sidecar", "all", "istio-system", egress=[{"hosts": ["./*"]}]))
    assert (own.scopes, own.everything) == ({"default"}, False)
    assert general.everything


def test_a_listener_for_a_port_decides_who_is_seen_there() -> None:
    port = {"number": 9080, "protocol": "HTTP"}
    narrow = {"port": port, "hosts": ["./reviews.default.svc.cluster.local"]}
    both = [service("reviews", "http:9080 admin:9090"), service("ratings", "http:9080 admin:9090")]
    snapshot = mesh(*both, resource("Sidecar", "s", egress=[narrow, {"hosts": ["./*"]}]))
    scope = snapshot.scope(proxy_in("default"))
    found = {item.name: [port.number for port in scope.narrowed(item).ports]
             for item in snapshot.services.values()}  # fmt: skip
    assert found == {"reviews": [9080, 9090], "ratings": [9090]}


def test_a_sidecar_says_what_happens_to_unknown_destinations() -> None:
    snapshot = mesh(sidecar("*/*", outboundTrafficPolicy={"mode": "REGISTRY_ONLY"}))
    assert not snapshot.scope(proxy_in("default")).allow_any
    assert snapshot.scope(proxy_in("other")).allow_any is MeshSettings().allow_any_outbound


def test_a_service_is_seen_where_it_is_exported_to() -> None:
    exported = resource("Service", "reviews", annotations={"networking.istio.io/exportTo": "., web"},
                        ports=[{"port": 80, "name": "http"}])  # fmt: skip
    names = ("default", "web", "else")
    snapshot = mesh(exported)
    found = [snapshot.service(REVIEWS, snapshot.scope(proxy_in(name))) is not None for name in names]
    assert found == [True, True, False]


def test_of_two_owners_of_a_host_a_client_sees_its_own() -> None:
    def entry(name: str, namespace: str, created: str) -> Any:
        return resource("ServiceEntry", name, namespace, hosts=["a.com"], created=created,
                        ports=[{"number": 80, "name": "http"}])  # fmt: skip

    newer, older = (
        entry("new", "web", "2026-02-01T00:00:00Z"),
        entry("old", "default", "2026-01-01T00:00:00Z"),
    )
    snapshot = mesh(newer, older)
    owners = [
        snapshot.service("a.com", snapshot.scope(proxy_in(name))) for name in ("web", "default", "else")
    ]
    assert [item.name if item else "" for item in owners] == ["new", "old", "old"]
