"""GRPCRoutes are routed by service and method, beside HTTPRoutes but never on the same host."""

from typing import Any

import pytest
from routing_mesh import gateway_built, ingress, mesh, service

from marline.compile.gateway_api_status import statuses

HEAD = "---\napiVersion: gateway.networking.k8s.io/v1\n"
MESH = (
    service("app", 9090).replace("http-", "grpc-")
    + f"""
{HEAD}kind: Gateway
metadata: {{name: edge}}
spec:
  gatewayClassName: marline
  listeners: [{{name: http, port: 80, protocol: HTTP}}]
"""
)


def grpc_route(matches: str, name: str = "grpc", hosts: str = "[]", backend: str = "app") -> str:
    return f"""
{HEAD}kind: GRPCRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: edge}}]
  hostnames: {hosts}
  rules: [{{matches: {matches}, backendRefs: [{{name: {backend}, port: 9090}}]}}]
"""


def http_route(name: str, hosts: str) -> str:
    return grpc_route("[]", name, hosts).replace("GRPCRoute", "HTTPRoute")


def routes(text: str) -> list[Any]:
    table: Any = gateway_built(mesh(MESH + text), ingress())["http.80"]
    return [route for host in table.virtual_hosts for route in host.routes]


def accepted(text: str) -> dict[str, tuple[str, str]]:
    found = {}
    for ref, status in statuses(mesh(MESH + text), "2026-01-01T00:00:00Z"):
        for parent in status.get("parents", ()):
            condition = next(item for item in parent["conditions"] if item["type"] == "Accepted")
            found[ref.name] = (condition["status"], condition["reason"])
    return found


@pytest.mark.parametrize(
    ("method", "field", "value"),
    [
        ("{service: a.B, method: C}", "path", "/a.B/C"),
        ("{service: a.B}", "path_separated_prefix", "/a.B"),
        ("{method: C}", "safe_regex", "/[^/]+/C"),
        ("{type: RegularExpression, service: 'a|b'}", "safe_regex", "/(?:a|b)/[^/]+"),
        ("{type: RegularExpression, service: a, method: 'b|c'}", "safe_regex", "/(?:a)/(?:b|c)"),
    ],
)
def test_a_method_is_a_path(method: str, field: str, value: str) -> None:
    (route,) = routes(grpc_route(f"[{{method: {method}}}]"))
    found = getattr(route.match, field)
    assert (found.regex if field == "safe_regex" else found) == value


def test_the_longest_service_wins_then_the_longest_method_then_the_most_headers() -> None:
    matches = """
    - {headers: [{name: a, value: b}]}
    - {method: {method: AVeryLongMethod}}
    - {method: {service: a.B}}
    - {method: {service: a.B, method: C}}
    - {method: {service: a.B, method: C}, headers: [{name: a, value: b}]}
    - {method: {service: a.Bigger}}
    """
    text = grpc_route("[]").replace("matches: []", "matches: [" + ", ".join(
        line.strip().removeprefix("- ") for line in matches.strip().splitlines()) + "]")  # fmt: skip
    found = [
        (route.match.path or route.match.path_separated_prefix or route.match.safe_regex.regex or "/",
         len(route.match.headers))
        for route in routes(text)
    ]  # fmt: skip
    assert found == [
        ("/a.Bigger", 0), ("/a.B/C", 1), ("/a.B/C", 0), ("/a.B", 0), ("/[^/]+/AVeryLongMethod", 0), ("/", 1),
    ]  # fmt: skip


def test_calls_without_a_backend_are_told_that_it_is_unavailable() -> None:
    (route,) = routes(grpc_route("[]", backend="absent"))
    assert route.direct_response.status == 503
    assert (
        routes(http_route("web", "[]").replace("name: app", "name: absent"))[0].direct_response.status == 500
    )


def test_of_routes_of_both_kinds_for_one_host_the_older_has_it() -> None:
    text = http_route("web", "[a.example.com]") + grpc_route("[]", "late", '["*.example.com"]')
    assert accepted(text + grpc_route("[]", "other", "[b.example.com]")) == {
        "web": ("True", "Accepted"),
        "late": ("False", "HostnameConflict"),
        "other": ("True", "Accepted"),
    }
    assert len(routes(text)) == 1


def test_a_listener_may_be_for_one_kind_of_route() -> None:
    only_http = MESH.replace(
        "protocol: HTTP}", "protocol: HTTP, allowedRoutes: {kinds: [{kind: HTTPRoute}]}}"
    )
    for ref, status in statuses(mesh(only_http + grpc_route("[]")), "2026-01-01T00:00:00Z"):
        if ref.kind == "GRPCRoute":
            (parent,) = status["parents"]
            assert parent["conditions"][0]["reason"] == "NotAllowedByListeners"
        if ref.kind == "Gateway":
            assert [item["kind"] for item in status["listeners"][0]["supportedKinds"]] == ["HTTPRoute"]


def test_a_grant_is_for_one_kind_of_route() -> None:
    grant = f"""
{HEAD}kind: ReferenceGrant
metadata: {{name: grant, namespace: other}}
spec:
  from: [{{group: gateway.networking.k8s.io, kind: KIND, namespace: default}}]
  to: [{{group: "", kind: Service}}]
"""
    text = service("far", 9090, namespace="other").replace("http-", "grpc-") + grpc_route(
        "[]", backend="far, namespace: other"
    )
    for kind, forwards in (("GRPCRoute", True), ("HTTPRoute", False)):
        (route,) = routes(text + grant.replace("KIND", kind))
        assert route.HasField("route") == forwards


@pytest.mark.parametrize(
    ("parent", "reason"),
    [("{name: edge}", "UnsupportedProtocol"), ("{kind: Service, group: '', name: plain}", "ResolvedRefs")],
)
def test_a_gateway_cannot_know_that_a_port_without_protocol_takes_grpc(parent: str, reason: str) -> None:
    route = grpc_route("[]", backend="plain").replace("{name: edge}", parent)
    text = MESH + service("plain", 9090).replace("http-9090", "main") + route
    told = {ref.name: status for ref, status in statuses(mesh(text), "2026-01-01T00:00:00Z")}
    (found,) = told["grpc"]["parents"]
    assert {item["reason"] for item in found["conditions"] if item["type"] == "ResolvedRefs"} == {reason}
