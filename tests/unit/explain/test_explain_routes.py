"""Which rule a request takes, and what each rule before it wanted."""

from explained import REVIEWS, ask, decided_by, details, ingress, mesh, sidecar, step, virtual_service

from marline.explain.steps import Fate

TO_V1 = "route: [{destination: {host: reviews, subset: v1}}]"
TO_V3 = "route: [{destination: {host: reviews, subset: v3}}]"
JASON = virtual_service(
    f"[{{match: [{{headers: {{end-user: {{exact: jason}}}}}}], {TO_V3}, timeout: 3s}},"
    f" {{{TO_V1}, retries: {{attempts: 0}}}}]"
)


def test_the_rule_that_a_header_chooses_is_named() -> None:
    found = ask(mesh(REVIEWS + JASON), "http://reviews:9080/", end_user="jason")
    assert decided_by(found, "route") == "VirtualService default/reviews spec.http[0].match[0]"
    assert decided_by(found, "cluster") == "DestinationRule default/reviews spec.subsets[1]"
    (ending,) = found.endings
    assert (ending.fate, ending.workloads) == (Fate.ANSWERED, ("default/reviews-v3",))


def test_a_rule_that_does_not_match_says_what_it_wanted() -> None:
    found = ask(mesh(REVIEWS + JASON), "http://reviews:9080/", end_user="x")
    assert details(found, "route") == ["header end-user is 'x', wanted 'jason' [spec.http[0].match[0]]"]
    assert decided_by(found, "route") == "VirtualService default/reviews spec.http[1]"
    assert found.endings[0].workloads == ("default/reviews-v1",)


def test_a_condition_on_the_workload_is_a_reason_too() -> None:
    rules = virtual_service(f"[{{match: [{{sourceLabels: {{app: web}}}}], {TO_V3}}}, {{{TO_V1}}}]")
    found = ask(mesh(REVIEWS + rules), "reviews:9080", sidecar(app="client"))
    (why,) = details(found, "route")
    assert why == "the label app is 'client', wanted 'web' (sourceLabels) [spec.http[0].match[0]]"
    assert ask(mesh(REVIEWS + rules), "reviews:9080", sidecar(app="web")).endings[0].workloads == (
        "default/reviews-v3",
    )


def test_timeouts_and_retries_in_force_are_named_with_their_fields() -> None:
    snapshot = mesh(REVIEWS + JASON)
    strict = ask(snapshot, "reviews:9080", end_user="jason")
    assert step(strict, "timeout").text.startswith("3s")
    assert decided_by(strict, "timeout") == "VirtualService default/reviews spec.http[0].timeout"
    assert decided_by(strict, "retries") == ""
    assert step(strict, "retries").text.startswith("2 for ")
    assert step(ask(snapshot, "reviews:9080"), "retries").text == "none"


def test_weights_are_shares_of_the_answer() -> None:
    route = (
        "route: [{destination: {host: reviews, subset: v1}, weight: 0},"
        " {destination: {host: reviews, subset: v1}, weight: 25},"
        " {destination: {host: reviews, subset: v3}, weight: 75}]"
    )
    found = ask(mesh(REVIEWS + virtual_service(f"[{{{route}}}]")), "reviews:9080")
    assert [(item.share, item.workloads) for item in found.endings] == [
        (0.25, ("default/reviews-v1",)),
        (0.75, ("default/reviews-v3",)),
    ]
    assert details(found, "shares")[1].endswith("[spec.http[0].route[2]]")


def test_a_redirect_answers_and_names_its_location() -> None:
    rules = virtual_service("[{redirect: {authority: other.example, redirectCode: 302}}]")
    (ending,) = ask(mesh(REVIEWS + rules), "http://reviews:9080/a?b=c").endings
    assert (ending.fate, ending.status) == (Fate.ANSWERED, 302)
    assert ending.location == "http://other.example/a?b=c"


def test_an_injected_fault_takes_its_share() -> None:
    fault = "fault: {abort: {httpStatus: 418, percentage: {value: 20}}}"
    found = ask(mesh(REVIEWS + virtual_service(f"[{{{fault}, {TO_V1}}}]")), "reviews:9080")
    assert [(item.share, item.status, item.fate) for item in found.endings] == [
        (0.2, 418, Fate.REFUSED),
        (0.8, 0, Fate.ANSWERED),
    ]
    assert decided_by(found, "fault") == "VirtualService default/reviews spec.http[0].fault"


def test_a_rewritten_path_is_what_the_application_sees() -> None:
    match = "match: [{uri: {prefix: /old}}], rewrite: {uri: /new, authority: inner}"
    (ending,) = ask(
        mesh(REVIEWS + virtual_service(f"[{{{match}, {TO_V1}}}]")), "http://reviews:9080/old/x?y"
    ).endings
    assert (ending.path, ending.authority) == ("/new/x?y", "inner")


def test_no_rule_is_a_404() -> None:
    rules = virtual_service(f"[{{match: [{{uri: {{exact: /only}}}}], {TO_V1}}}]")
    found = ask(mesh(REVIEWS + rules), "http://reviews:9080/other")
    assert [(item.fate, item.status) for item in found.endings] == [(Fate.REFUSED, 404)]
    assert details(found, "route") == ["path is /other, wanted /only [spec.http[0].match[0]]"]


def test_a_gateway_as_the_source_is_ingress() -> None:
    gateway = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: web, namespace: istio-system}
spec: {selector: {istio: ingressgateway},
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec: {hosts: [shop.example], gateways: [istio-system/web],
  http: [{match: [{uri: {prefix: /r}}], route: [{destination: {host: reviews, subset: v3}}]}]}
"""
    snapshot = mesh(REVIEWS + gateway)
    found = ask(snapshot, "http://shop.example/r", ingress())
    assert decided_by(found, "route") == "VirtualService default/shop spec.http[0].match[0]"
    assert found.endings[0].workloads == ("default/reviews-v3",)
    assert ask(snapshot, "http://shop.example/x", ingress()).endings[0].status == 404
    assert ask(snapshot, "http://other.example/r", ingress()).endings[0].status == 404
    assert ask(snapshot, "http://shop.example:444/", ingress()).fate is Fate.REFUSED


def test_a_filter_of_an_envoy_filter_is_not_guessed() -> None:
    lua = """
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: lua}
spec:
  configPatches:
  - applyTo: HTTP_FILTER
    match: {context: SIDECAR_OUTBOUND, listener: {filterChain: {filter:
      {name: envoy.filters.network.http_connection_manager, subFilter: {name: envoy.filters.http.router}}}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.lua
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
          default_source_code: {inline_string: "function envoy_on_request(handle) end"}
---
"""
    found = ask(mesh(REVIEWS + JASON + lua), "reviews:9080")
    assert found.endings[0].fate is Fate.ANSWERED
    assert found.doubts == ("the HTTP filter envoy.filters.http.lua is not evaluated",)
    assert found.fate is Fate.UNKNOWN


GAMMA = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews-route}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews}]
  rules:
  - matches: [{headers: [{name: user, value: jason}]}]
    backendRefs: [{name: ratings, port: 9080, weight: 30}, {name: reviews, port: 9080, weight: 70}]
  - backendRefs: [{name: reviews, port: 9080}]
---
"""
RATINGS = REVIEWS.partition("---")[0].replace("reviews", "ratings").replace("10.96.0.1", "10.96.0.2")


def test_routes_of_the_gateway_api_count_inside_the_mesh() -> None:
    snapshot = mesh(f"{RATINGS}---\n{REVIEWS}{GAMMA}")
    found = ask(snapshot, "reviews:9080", user="jason")
    assert decided_by(found, "route") == "HTTPRoute default/reviews-route spec.rules[0].matches[0]"
    assert details(found, "shares") == [
        "30 % to outbound|9080||ratings.default.svc.cluster.local [spec.rules[0].backendRefs[0]]",
        "70 % to outbound|9080||reviews.default.svc.cluster.local [spec.rules[0].backendRefs[1]]",
    ]
    other = ask(snapshot, "reviews:9080")
    assert decided_by(other, "route") == "HTTPRoute default/reviews-route spec.rules[1]"
    assert details(other, "route") == ["there is no header user, wanted 'jason' [spec.rules[0].matches[0]]"]


DELEGATING = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: root}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {prefix: /a}}]
    delegate: {name: part}
  - route: [{destination: {host: reviews, subset: v1}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: part}
spec:
  http:
  - match: [{headers: {user: {exact: jason}}}]
    timeout: 4s
    route: [{destination: {host: reviews, subset: v3}}]
---
"""


def test_a_delegate_is_named_where_it_decides() -> None:
    snapshot = mesh(REVIEWS + DELEGATING)
    found = ask(snapshot, "http://reviews:9080/a/b", user="jason")
    assert decided_by(found, "route") == "VirtualService default/part spec.http[0].match[0]"
    assert decided_by(found, "timeout") == "VirtualService default/part spec.http[0].timeout"
    assert found.endings[0].workloads == ("default/reviews-v3",)
    other = ask(snapshot, "http://reviews:9080/b", user="jason")
    assert decided_by(other, "route") == "VirtualService default/root spec.http[1]"
    assert details(other, "route") == ["path is /b, wanted the prefix /a [spec.http[0].match[0]]"]
