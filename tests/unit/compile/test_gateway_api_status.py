"""The status of Gateway API resources says what is served, and why what is not."""

from typing import Any

import pytest
from routing_mesh import mesh, service

from marline.api.resource import Ref
from marline.compile.gateway_api_status import statuses
from marline.mesh.model import Capture, ChangeSet, Proxy, Role, Workload
from marline.mesh.snapshot import MeshSnapshot, advance

HEAD = "---\napiVersion: gateway.networking.k8s.io/v1\n"
CLASS = f"""
{HEAD}kind: GatewayClass
metadata: {{name: marline}}
spec: {{controllerName: marline.io/gateway-controller}}
"""
GATEWAY = f"""
{HEAD}kind: Gateway
metadata: {{name: edge, generation: 3}}
spec:
  gatewayClassName: marline
  listeners:
  - {{name: http, port: 80, protocol: HTTP, hostname: "*.example.com"}}
  - {{name: again, port: 80, protocol: HTTP, hostname: "*.example.com"}}
  - {{name: raw, port: 9000, protocol: example.com/other}}
  - {{name: tls, port: 443, protocol: HTTPS, tls: {{certificateRefs: [{{name: none}}]}}}}
"""
INGRESS = Workload("istio-system", "ingress", labels=(("istio", "ingressgateway"),))
PROXY = Proxy("ingress", Role.GATEWAY, Capture.EXPLICIT, (INGRESS,), bind_address="127.0.0.9")
NOW, LATER = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"


def route(parent: str = "{name: edge}", backend: str = "{name: web, port: 80}", hosts: str = "[]") -> str:
    return f"""
{HEAD}kind: HTTPRoute
metadata: {{name: route}}
spec:
  parentRefs: [{parent}]
  hostnames: {hosts}
  rules: [{{backendRefs: [{backend}]}}]
"""


def told(text: str | MeshSnapshot, now: str = NOW) -> dict[str, Any]:
    snapshot = mesh(text) if isinstance(text, str) else text
    return {ref.kind: status for ref, status in statuses(snapshot, now, [PROXY])}


def verdicts(conditions: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    return {item["type"]: (item["status"], item["reason"]) for item in conditions}


def test_a_class_of_ours_is_accepted() -> None:
    status = told(CLASS)["GatewayClass"]
    assert verdicts(status["conditions"]) == {
        "Accepted": ("True", "Accepted"),
        "SupportedVersion": ("True", "SupportedVersion"),
    }
    features = [item["name"] for item in status["supportedFeatures"]]
    assert features == sorted(set(features))
    assert {"HTTPRoute", "TLSRoute", "TCPRoute", "ListenerSet"} <= set(features)


def test_a_gateway_counts_routes_and_judges_each_listener() -> None:
    status = told(service("web", 80) + GATEWAY + route(hosts="[a.example.com]"))["Gateway"]
    listeners = {item["name"]: item for item in status["listeners"]}
    judged = {name: verdicts(item["conditions"]) for name, item in listeners.items()}
    assert verdicts(status["conditions"])["Programmed"] == ("True", "Programmed")
    assert listeners["http"]["attachedRoutes"] == 1
    assert listeners["http"]["supportedKinds"] == [
        {"group": "gateway.networking.k8s.io", "kind": kind} for kind in ("HTTPRoute", "GRPCRoute")
    ]
    assert judged["http"]["Programmed"] == ("True", "Programmed")
    assert judged["again"]["Conflicted"] == ("True", "HostnameConflict")
    assert judged["raw"]["Accepted"] == ("False", "UnsupportedProtocol")
    assert judged["tls"]["ResolvedRefs"] == ("False", "InvalidCertificateRef")
    assert {item["observedGeneration"] for item in status["conditions"]} == {3}


@pytest.mark.parametrize(
    ("text", "accepted", "resolved"),
    [
        (route(), ("True", "Accepted"), ("True", "ResolvedRefs")),
        (route("{name: edge, sectionName: other}"), ("False", "NoMatchingParent"), ("True", "ResolvedRefs")),
        (route("{name: absent}"), ("False", "NoMatchingParent"), ("True", "ResolvedRefs")),
        (
            route("{name: edge, sectionName: http}", hosts="[a.org]"),
            ("False", "NoMatchingListenerHostname"), ("True", "ResolvedRefs"),
        ),
        (
            route("{kind: Service, group: '', name: web}"),
            ("True", "Accepted"), ("True", "ResolvedRefs"),
        ),
        (route(backend="{name: absent, port: 80}"), ("True", "Accepted"), ("False", "BackendNotFound")),
        (route(backend="{name: web, port: 81}"), ("True", "Accepted"), ("False", "BackendNotFound")),
        (
            route(backend="{name: web, namespace: prod, port: 80}"),
            ("True", "Accepted"), ("False", "RefNotPermitted"),
        ),
        (
            route(backend="{kind: Bucket, group: a.b, name: web, port: 80}"),
            ("True", "Accepted"), ("False", "InvalidKind"),
        ),
    ],
)  # fmt: skip
def test_a_route_is_told_what_became_of_it(text: str, accepted: Any, resolved: Any) -> None:
    (parent,) = told(service("web", 80) + GATEWAY + text)["HTTPRoute"]["parents"]
    assert parent["controllerName"] == "marline.io/gateway-controller"
    assert verdicts(parent["conditions"]) == {"Accepted": accepted, "ResolvedRefs": resolved}


def with_status(snapshot: MeshSnapshot, ref: Ref, status: dict[str, Any]) -> MeshSnapshot:
    import dataclasses

    resource = snapshot.resource(ref)
    others = [
        snapshot.resource(item)
        for item in (
            Ref("", "Service", "default", "web"),
            Ref("gateway.networking.k8s.io", "Gateway", "default", "edge"),
        )
    ]
    changed = (*others, dataclasses.replace(resource, status=status))
    return advance(snapshot, ChangeSet(changed, (), "2"))[0]


def test_what_is_already_said_is_not_said_again_and_times_are_kept() -> None:
    snapshot = mesh(service("web", 80) + GATEWAY + route())
    first = dict(statuses(snapshot, NOW))
    ref = Ref("gateway.networking.k8s.io", "HTTPRoute", "default", "route")
    settled = with_status(snapshot, ref, first[ref])
    assert ref not in dict(statuses(settled, LATER))
    stale = first[ref] | {"parents": [{**first[ref]["parents"][0]}]}
    stale["parents"][0]["conditions"] = [
        {**item, "message": "old"} for item in stale["parents"][0]["conditions"]
    ]
    again = dict(statuses(with_status(snapshot, ref, stale), LATER))[ref]
    assert {item["lastTransitionTime"] for item in again["parents"][0]["conditions"]} == {NOW}


def test_a_gateway_that_no_proxy_serves_is_not_programmed_and_has_no_address() -> None:
    other = Workload("istio-system", "other", labels=(("istio", "egressgateway"),))
    proxies = [Proxy("other", Role.GATEWAY, Capture.EXPLICIT, (other,), bind_address="127.0.0.8")]
    ((_, status),) = statuses(mesh(GATEWAY), NOW, proxies)
    assert verdicts(status["conditions"])["Programmed"] == ("False", "Pending")
    assert status["addresses"] == []


def test_a_gateways_address_is_that_of_the_proxy_with_its_name() -> None:
    named = (("gateway.networking.k8s.io/gateway-name", "edge"),)
    own, stranger = Workload("default", "own", labels=named), Workload("prod", "other", labels=named)
    proxies = [
        Proxy(item.name, Role.GATEWAY, Capture.EXPLICIT, (item,), bind_address=address)
        for item, address in ((own, "127.0.0.7"), (stranger, "127.0.0.8"))
    ]
    ((_, status),) = statuses(mesh(GATEWAY), NOW, proxies)
    assert status["addresses"] == [{"type": "IPAddress", "value": "127.0.0.7"}]


def test_a_gateway_none_of_whose_listeners_is_served_is_not_accepted() -> None:
    unknown = GATEWAY.replace("protocol: HTTP,", "protocol: GOPHER,").replace("HTTPS,", "GOPHERS,")
    unknown = unknown.replace(", tls: {certificateRefs: [{name: none}]}", "")
    status = told(unknown)["Gateway"]
    assert verdicts(status["conditions"]) == {
        "Accepted": ("False", "ListenersNotValid"),
        "Programmed": ("False", "Invalid"),
    }


def test_a_listener_set_whose_listeners_are_not_served_is_not_accepted() -> None:
    owner = f"""
{HEAD}kind: ListenerSet
metadata: {{name: more}}
spec:
  parentRef: {{name: edge}}
  listeners:
  - {{name: tls, port: 8443, protocol: HTTPS, tls: {{certificateRefs: [{{name: none}}]}}}}
"""
    allowing = GATEWAY.replace("  listeners:", "  allowedListeners: {namespaces: {from: Same}}\n  listeners:")
    status = told(allowing + owner)["ListenerSet"]
    assert verdicts(status["conditions"]) == {
        "Accepted": ("False", "ListenersNotValid"),
        "Programmed": ("False", "ListenersNotValid"),
    }


def test_a_route_of_a_service_may_lead_to_any_namespace_without_a_grant() -> None:
    parent = "{kind: Service, group: '', name: web, namespace: prod}"
    backend = "{name: web, namespace: prod, port: 80}"
    status = told(service("web", 80, namespace="prod") + route(parent, backend))["HTTPRoute"]
    (found,) = status["parents"]
    assert verdicts(found["conditions"])["ResolvedRefs"] == ("True", "ResolvedRefs")


def test_a_rule_with_filters_that_cannot_be_together_is_dropped_and_told() -> None:
    cors = "{type: CORS, cors: {allowOrigins: ['https://a.org']}}"
    away = "{type: RequestRedirect, requestRedirect: {hostname: b.org}}"
    text = f"""
{HEAD}kind: HTTPRoute
metadata: {{name: route}}
spec:
  parentRefs: [{{name: edge}}]
  rules: [{{filters: [{cors}, {away}]}}, {{filters: [{away}]}}]
"""
    (parent,) = told(GATEWAY + text)["HTTPRoute"]["parents"]
    partly = next(item for item in parent["conditions"] if item["type"] == "PartiallyInvalid")
    assert partly["message"].startswith("Dropped Rule: spec.rules[0].filters: CORS is not supported")
