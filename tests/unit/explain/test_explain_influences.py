"""Policies and patches that act on a request stand in the explanation, each with its resource."""

from explained import REVIEWS, ask, decided_by, ingress, mesh, server, step, virtual_service

from marline.explain.steps import Detail, Explanation, Fate

PEER = server("reviews-v1", "10.0.0.1", app="reviews", version="v1")
LIMITED = """
apiVersion: policy.marline.io/v1alpha1
kind: RateLimitPolicy
metadata: {name: few}
spec:
  targetRefs: [{kind: Service, name: reviews}]
  limits: [{name: all, requests: 1, unit: Minute}]
---
"""
RESILIENT = """
apiVersion: policy.marline.io/v1alpha1
kind: ResiliencePolicy
metadata: {name: calm}
spec:
  targetRefs: [{kind: Service, name: reviews}]
  adaptiveConcurrency: {}
  hedging: {after: 0.5s}
  retryBudget: {percent: 10}
---
"""
PATCHED = """
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: own-limit}
spec:
  configPatches:
    - applyTo: HTTP_FILTER
      match:
        context: SIDECAR_INBOUND
        listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}
      patch:
        operation: INSERT_FIRST
        value:
          name: envoy.filters.http.local_ratelimit
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
            stat_prefix: x
    - applyTo: CLUSTER
      match: {context: SIDECAR_OUTBOUND, cluster: {service: reviews.default.svc.cluster.local}}
      patch: {operation: MERGE, value: {connect_timeout: 3s}}
    - applyTo: VIRTUAL_HOST
      match: {context: SIDECAR_OUTBOUND}
      patch: {operation: MERGE, value: {request_headers_to_remove: [x]}}
---
"""
LIMIT = "RateLimitPolicy default/few spec.limits[0]"
EDGE = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec: {selector: {istio: ingressgateway}, servers: [
  {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
---
"""


def said(details: tuple[Detail, ...], text: str) -> list[str]:
    """The places of the details with this text."""
    found = [item.place for item in details if text in item.text]
    return [f"{place.resource} {place.field}" if place is not None else "" for place in found]


def at_the_end(found: Explanation, text: str) -> list[str]:
    return said(step(found, "endpoints").details, text)


def test_limits_of_the_service_are_told_at_its_endpoints() -> None:
    found = ask(mesh(REVIEWS + LIMITED), "reviews:9080", None, PEER)
    assert at_the_end(found, "limited to 1 a minute, counted by each proxy: more get 429") == [LIMIT]
    # mTLS is demanded by default, not by the limit.
    assert at_the_end(found, "reviews-v1 at") == [""]


def test_a_limit_that_does_not_count_the_request_is_not_told() -> None:
    some = LIMITED.replace("unit: Minute", "unit: Minute, match: {headers: {user: {exact: jason}}}")
    snapshot = mesh(REVIEWS + some)
    assert at_the_end(ask(snapshot, "reviews:9080", None, PEER, user="jason"), "more get 429") == [LIMIT]
    assert at_the_end(ask(snapshot, "reviews:9080", None, PEER, user="jane"), "more get 429") == []


def test_each_part_of_a_resilience_policy_is_told_where_it_acts() -> None:
    found = ask(mesh(REVIEWS + RESILIENT), "reviews:9080", None, PEER)
    concurrency = at_the_end(found, "adaptive concurrency may refuse")
    assert concurrency == ["ResiliencePolicy default/calm spec.adaptiveConcurrency"]
    assert decided_by(found, "retry budget") == "ResiliencePolicy default/calm spec.retryBudget"
    assert "10 %" in step(found, "retry budget").text
    assert decided_by(found, "hedging") == "ResiliencePolicy default/calm spec.hedging"
    general = ask(mesh(REVIEWS), "reviews:9080", None, PEER)
    assert step(general, "retry budget").text.endswith("(the default)")


def test_what_patches_have_changed_is_told_with_the_patch() -> None:
    found = ask(mesh(REVIEWS + PATCHED), "reviews:9080", None, PEER)
    patch = "EnvoyFilter default/own-limit spec.configPatches"
    assert said(step(found, "cluster").details, "is changed (CLUSTER MERGE)") == [f"{patch}[1]"]
    assert f"{patch}[2]" in said(step(found, "patches").details, "(VIRTUAL_HOST MERGE)")
    assert at_the_end(found, "is changed (HTTP_FILTER INSERT_FIRST)") == [f"{patch}[0]"]
    assert at_the_end(found, "rate limit may refuse") == [f"{patch}[0]"]


def test_the_port_of_a_peer_authentication_that_decides_is_named() -> None:
    policy = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: ports}
spec: {selector: {matchLabels: {app: reviews}}, portLevelMtls: {"9080": {mode: PERMISSIVE}}}
---
"""
    found = ask(mesh(REVIEWS + LIMITED + policy), "reviews:9080", None, PEER)
    decides = "PeerAuthentication default/ports spec.portLevelMtls.9080.mode"
    assert at_the_end(found, "reviews-v1 at") == [decides]


def test_at_a_gateway_the_limits_of_the_chosen_rule_are_told() -> None:
    rules = "".join(
        virtual_service("[{route: [{destination: {host: reviews, port: {number: 9080}}}]}]", name).replace(
            f"hosts: [{name}]", f"hosts: [{name}.example.com], gateways: [edge]"
        )
        for name in ("one", "two")
    )
    limits = LIMITED.replace(
        "{kind: Service, name: reviews}", "{group: networking.istio.io, kind: VirtualService, name: one}"
    )
    snapshot = mesh(REVIEWS + EDGE + rules + limits)
    one = ask(snapshot, "http://one.example.com/", ingress(), PEER)
    assert decided_by(one, "under load") == LIMIT
    two = ask(snapshot, "http://two.example.com/", ingress(), PEER)
    assert [item.topic for item in two.steps if item.topic == "under load"] == []


DENIED = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: denied}
spec:
  action: DENY
  rules:
    - to: [{operation: {methods: [POST]}}]
    - from: [{source: {namespaces: [default]}}]
      to: [{operation: {paths: [/secret]}}]
---
"""


def test_the_rule_that_denies_is_named_with_the_status() -> None:
    snapshot = mesh(REVIEWS + DENIED)
    found = ask(snapshot, "reviews:9080", None, PEER, path="/secret")
    assert at_the_end(found, "reviews-v1 at") == ["AuthorizationPolicy default/denied spec.rules[1]"]
    assert [item.status for item in found.endings] == [403]
    assert found.fate is Fate.REFUSED
    assert ask(snapshot, "reviews:9080", None, PEER).fate is Fate.ANSWERED


def test_tokens_are_in_doubt_only_where_a_request_brings_one() -> None:
    policy = """
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users}
spec: {jwtRules: [{issuer: me, jwks: '{"keys": []}'}]}
---
"""
    snapshot = mesh(REVIEWS + policy)
    assert ask(snapshot, "reviews:9080", None, PEER).doubts == ()
    assert "jwt_authn" in ask(snapshot, "reviews:9080", None, PEER, authorization="Bearer x").doubts[0]
