"""Who answers at the end: endpoints, their health, and what their policy takes."""

from explained import REVIEWS, ask, decided_by, details, ingress, mesh, server, sidecar, step, virtual_service

from marline.compile.tls import mesh_sni
from marline.explain.steps import Fate
from marline.mesh.model import Upstream

STRICT_PEERS = (
    server("reviews-v1", "10.0.0.1", app="reviews", version="v1"),
    server("reviews-v3", "10.0.0.3", app="reviews", version="v3"),
)
PLAIN = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: plain}
spec: {host: reviews, trafficPolicy: {tls: {mode: DISABLE}}}
---
"""
PERMISSIVE = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: lenient}
spec: {mtls: {mode: PERMISSIVE}}
---
"""


def test_both_ends_are_mtls_by_default() -> None:
    found = ask(mesh(REVIEWS), "reviews:9080", None, *STRICT_PEERS)
    assert step(found, "TLS").text.startswith("mutual TLS")
    assert details(found, "TLS") == ["expected: spiffe://cluster.local/ns/default/sa/reviews"]
    assert found.fate is Fate.ANSWERED


def test_plain_text_to_a_strict_workload_is_refused() -> None:
    text = REVIEWS.replace("metadata: {name: reviews}\nspec:\n  host", "metadata: {name: z}\nspec:\n  host")
    found = ask(mesh(PLAIN + text), "reviews:9080", None, *STRICT_PEERS)
    assert decided_by(found, "TLS") == "DestinationRule default/plain spec.trafficPolicy.tls"
    (ending,) = found.endings
    assert (ending.fate, ending.status) == (Fate.REFUSED, 503)
    assert "mTLS is demanded" in ending.text


def test_what_a_permissive_workload_takes_is_said_with_its_policy() -> None:
    found = ask(mesh(PLAIN + PERMISSIVE + REVIEWS), "reviews:9080", None, *STRICT_PEERS)
    assert found.fate is Fate.ANSWERED
    (first, _) = step(found, "endpoints").details
    assert first.place is not None
    assert str(first.place.resource) == "PeerAuthentication default/lenient"


def test_an_unexpected_identity_is_refused() -> None:
    rival = server("reviews-v1", "10.0.0.1", account="thief", app="reviews", version="v1")
    found = ask(mesh(REVIEWS), "reviews:9080", None, rival, STRICT_PEERS[1])
    assert found.fate is Fate.ANSWERED
    assert found.endings[0].workloads == ("default/reviews-v3",)
    assert "1 of 2 endpoints do not take it" in found.endings[0].text


def test_without_ready_endpoints_the_proxy_says_503() -> None:
    unready = REVIEWS.replace(
        "version: v1, security.istio.io/tlsMode: istio}}",
        "version: v1, security.istio.io/tlsMode: istio}}\n"
        "status: {conditions: [{type: Healthy, status: 'False'}]}",
    )
    rules = virtual_service("[{route: [{destination: {host: reviews, subset: v1}}]}]")
    found = ask(mesh(unready + rules), "reviews:9080")
    assert [(item.fate, item.status) for item in found.endings] == [(Fate.REFUSED, 503)]
    assert details(found, "endpoints") == [
        "default/reviews-v1 is not ready and gets nothing [status.conditions]"
    ]


def test_a_subset_that_does_not_exist_is_a_503() -> None:
    rules = virtual_service("[{route: [{destination: {host: reviews, subset: v9}}]}]")
    (ending,) = ask(mesh(REVIEWS + rules), "reviews:9080").endings
    assert (ending.fate, ending.status) == (Fate.REFUSED, 503)
    assert "there is no cluster" in ending.text


def test_an_endpoint_that_envoy_has_ejected_gets_nothing() -> None:
    cluster = "outbound|9080||reviews.default.svc.cluster.local"
    observed = {(cluster, "10.0.0.1:9080"): "ejected as outlier"}
    found = ask(mesh(REVIEWS), "reviews:9080", None, *STRICT_PEERS, observed=observed)
    assert found.endings[0].workloads == ("default/reviews-v3",)
    assert "ejected as outlier" in details(found, "endpoints")[0]


def test_under_explicit_capture_a_declared_upstream_stands_for_the_service() -> None:
    source = sidecar(Upstream("reviews", 9080, 31001), explicit=True)
    found = ask(mesh(REVIEWS), "reviews:9080", source)
    assert "127.0.0.1:31001 stands for it" in step(found, "listener").text
    assert found.endings[0].authority == "reviews:9080"
    by_proxy = ask(mesh(REVIEWS), "reviews:9080", sidecar(explicit=True))
    assert "HTTP proxy" in step(by_proxy, "listener").text
    assert by_proxy.fate is Fate.ANSWERED


def test_unknown_names_pass_through_or_are_refused() -> None:
    found = ask(mesh(REVIEWS), "http://nowhere.example/")
    assert "no Service or ServiceEntry" in step(found, "name").text
    assert found.endings[0].cluster == "PassthroughCluster"
    narrow = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: narrow}
spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}, egress: [{hosts: ["other/*"]}]}
---
"""
    refused = ask(mesh(narrow + REVIEWS), "http://reviews.default.svc.cluster.local:9080/")
    assert "Sidecar" in step(refused, "name").text
    assert refused.fate is Fate.REFUSED


def test_what_is_not_known_of_a_port_that_carries_no_http_is_not_asked() -> None:
    database = """
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: 10.96.0.9, ports: [{name: tcp-sql, port: 5432}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: db}
spec: {hosts: [db], tcp: [{route: [{destination: {host: reviews, port: {number: 9080}}, weight: 10},
  {destination: {host: db}, weight: 90}]}]}
---
"""
    found = ask(mesh(database + REVIEWS), "db:5432")
    assert found.request == "a connection to db:5432"
    assert [(item.share, item.fate) for item in found.endings] == [(0.1, Fate.ANSWERED), (0.9, Fate.REFUSED)]


def test_the_server_name_is_the_cluster_where_a_gateway_passes_everything_through() -> None:
    gateway = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: east-west, namespace: istio-system}
spec: {selector: {istio: ingressgateway}, servers: [
  {port: {number: 15443, name: tls, protocol: TLS}, tls: {mode: AUTO_PASSTHROUGH}, hosts: ["*.local"]}]}
---
"""
    name = mesh_sni("reviews.default.svc.cluster.local", 9080, "v3")
    found = ask(mesh(gateway + REVIEWS), f"https://{name}:15443", ingress())
    (ending,) = found.endings
    assert (ending.fate, ending.cluster) == (Fate.ANSWERED, name)
    assert ending.workloads == ("default/reviews-v3",)
    unknown = ask(mesh(gateway + REVIEWS), "https://outbound_.1_._.nobody.mesh.marline:15443", ingress())
    assert unknown.fate is Fate.REFUSED
