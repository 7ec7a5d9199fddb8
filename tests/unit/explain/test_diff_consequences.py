"""What is foretold of a change: which resources of which proxies, and what follows."""

from dataclasses import replace
from typing import Any

from explained import REVIEWS, ingress, mesh, resources, server, sidecar, virtual_service

from marline.explain.changes import Forecast, forecast
from marline.mesh.model import ChangeSet, Proxy
from marline.mesh.snapshot import MeshSnapshot

HOST = "reviews.default.svc.cluster.local"
SPLIT = "[{{route: [{{destination: {{host: reviews, subset: v1}}, weight: {0}}},"
SPLIT += " {{destination: {{host: reviews, subset: v3}}, weight: {1}}}]}}]"
PEERS = (server("reviews-v1", "10.0.0.1", app="reviews"), server("reviews-v3", "10.0.0.3", app="reviews"))


def foretell(before: str, change: str, *proxies: Proxy, removed: tuple[Any, ...] = ()) -> Forecast:
    snapshot: MeshSnapshot = mesh(before)
    made = ChangeSet(resources(change), removed, "2")
    return forecast(snapshot, made, proxies or (sidecar(), *PEERS))


def said(found: Forecast, kind: str) -> list[str]:
    return [item.text for item in found.consequences if item.kind == kind]


def touched(found: Forecast) -> set[tuple[str, str, str]]:
    return {(item.action, item.type, item.name) for change in found.proxies for item in change.resources}


def test_a_shift_of_weights_names_the_shares_and_one_virtual_host() -> None:
    before = REVIEWS + virtual_service(SPLIT.format(90, 10))
    found = foretell(before, virtual_service(SPLIT.format(80, 20)))
    assert said(found, "moved") == [
        f"{HOST}:9080: {HOST}:9080 subset v1 90 % → 80 %, {HOST}:9080 subset v3 10 % → 20 %"
    ]
    assert touched(found) == {("changed", "VirtualHost", f"9080/{HOST}:9080")}
    (change,) = found.proxies
    assert set(change.proxies) == {"default/client", "default/reviews-v1", "default/reviews-v3"}
    assert change.resources[0].lines == (
        "routes[0].route.weightedClusters.clusters[0].weight: 90 → 80",
        "routes[0].route.weightedClusters.clusters[1].weight: 10 → 20",
    )


def test_what_says_the_same_changes_nobody() -> None:
    text = virtual_service(SPLIT.format(90, 10))
    found = foretell(REVIEWS + text, resources_again(text))
    assert (found.proxies, found.consequences) == ((), ())


def resources_again(text: str) -> str:
    """The same, as a server would have it with the times of its first creation."""
    return text.replace(
        "metadata: {name: reviews}", "metadata: {name: reviews, creationTimestamp: '2026-01-01T00:00:04Z'}"
    )


def test_a_rule_that_hides_another_is_told() -> None:
    rule = "match: [{{uri: {{prefix: {0}}}}}], route: [{{destination: {{host: reviews, subset: {1}}}}}]"
    narrow, wide = rule.format("/a/b", "v1"), rule.format("/a", "v3")
    good = virtual_service(f"[{{{narrow}}}, {{{wide}}}]")
    found = foretell(REVIEWS + good, virtual_service(f"[{{{wide}}}, {{{narrow}}}]"))
    (text,) = said(found, "shadowed")
    assert text == (
        "VirtualService default/reviews spec.http[1]: spec.http[0].match[0] takes all that this rule is for"
    )
    assert said(foretell(REVIEWS, good), "shadowed") == []


def test_rules_after_one_for_everything_are_told() -> None:
    everything = "{route: [{destination: {host: reviews}}]}"
    found = foretell(REVIEWS, virtual_service(f"[{everything}, {everything}]"))
    assert said(found, "shadowed") == [
        "VirtualService default/reviews spec.http[1]: spec.http[0] takes all that this rule is for"
    ]


def test_a_subset_that_does_not_exist_loses_everyone_access() -> None:
    found = foretell(REVIEWS, virtual_service("[{route: [{destination: {host: reviews, subset: v9}}]}]"))
    (lost,) = [item for item in found.consequences if item.kind == "lost"]
    assert "there is no cluster" in lost.text
    assert "default/client" in lost.proxies


def test_callers_in_plain_text_lose_access_when_mtls_is_demanded() -> None:
    plain = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: plain}
spec: {host: reviews, trafficPolicy: {tls: {mode: DISABLE}}}
---
"""
    policy = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: own, creationTimestamp: "2026-01-01T00:00:00Z"}}
spec: {{mtls: {{mode: {0}}}}}
---
"""
    services = REVIEWS.rpartition("apiVersion: networking.istio.io/v1\nkind: DestinationRule")[0]
    before = policy.format("PERMISSIVE") + services + plain
    found = foretell(before, policy.format("STRICT"))
    assert any("mTLS is demanded there" in text for text in said(found, "lost"))
    assert "port 9080 (http) of reviews-v1 takes mTLS and plain text → mTLS" in said(found, "tls")
    back = foretell(policy.format("STRICT") + services + plain, policy.format("PERMISSIVE"))
    assert said(back, "gained")


def test_a_host_that_loses_its_last_endpoint_is_told() -> None:
    entries = [item for item in resources(REVIEWS) if item.kind == "WorkloadEntry"]
    found = foretell(REVIEWS, "", removed=tuple(item.ref for item in entries))
    assert f"{HOST}:9080 has no ready endpoint any more" in said(found, "endpoints")
    assert any("no endpoint is ready" in text for text in said(found, "lost"))


def test_mtls_that_is_turned_off_is_told() -> None:
    rule = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec: {host: reviews, trafficPolicy: {tls: {mode: DISABLE}}, subsets: [{name: v1, labels: {version: v1}}]}
"""
    found = foretell(REVIEWS, rule)
    assert f"connections to {HOST}:9080: mTLS → plain text" in said(found, "tls")
    assert ("removed", "Cluster", f"outbound|9080|v3|{HOST}") in touched(found)


def test_only_those_who_are_touched_change() -> None:
    elsewhere = sidecar(namespace="other")
    private = virtual_service(SPLIT.format(1, 1)).replace(
        "hosts: [reviews]", 'hosts: [reviews], exportTo: ["."]'
    )
    found = foretell(REVIEWS, private, sidecar(), elsewhere, ingress())
    assert [item.proxies for item in found.proxies] == [("default/client",)]


def client(name: str) -> Proxy:
    made = sidecar(app=name)
    return replace(made, node_id=name, workloads=(replace(made.workloads[0], name=name),))


def test_proxies_that_rules_tell_apart_are_asked_apart() -> None:
    rule = "match: [{sourceLabels: {app: web}}], route: [{destination: {host: reviews, subset: v9}}]"
    change = virtual_service(f"[{{{rule}}}, {{route: [{{destination: {{host: reviews}}}}]}}]")
    found = foretell(REVIEWS, change, client("cron"), client("web"))
    (lost,) = [item for item in found.consequences if item.kind == "lost"]
    assert lost.proxies == ("default/web",)


def test_proxies_that_differ_at_the_end_of_a_route_are_asked_apart() -> None:
    front = REVIEWS.partition("---")[0].replace("reviews", "front").replace("10.96.0.1", "10.96.0.8")
    plain = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: plain}
spec: {host: reviews, workloadSelector: {matchLabels: {app: web}}, trafficPolicy: {tls: {mode: DISABLE}}}
---
"""
    change = virtual_service("[{route: [{destination: {host: reviews}}]}]", "front")
    found = foretell(f"{front}---\n{plain}{REVIEWS}", change, client("cron"), client("web"), *PEERS)
    # It led nowhere before; now it leads to reviews, for all but those who go there in plain text.
    (gained,) = [item for item in found.consequences if item.kind == "gained"]
    assert gained.proxies == ("default/cron", "default/reviews-v1", "default/reviews-v3")
