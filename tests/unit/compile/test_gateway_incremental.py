"""Gateways' views follow changes of routes host by host: with what starting anew gives, and at no more cost
than what the change is about."""

from dataclasses import replace
from typing import Any, Final

import msgspec
import pytest
import yaml
from core_meshes import resources
from hypothesis import given, settings
from hypothesis import strategies as st
from test_core_incremental import POOL as EVERYTHING
from test_core_incremental import View, contents, whole

from marline.api.decode import decode
from marline.api.resource import Ref, Resource
from marline.compile.catalog import affected, compile_unit, units
from marline.compile.gateway_api_conditions import Status
from marline.compile.gateway_api_status import route_statuses, server_statuses, statuses
from marline.compile.units import GatewayHostUnit, GatewayUnit, Unit
from marline.mesh.model import Capture, ChangeSet, Impact, MeshSettings, Proxy, Role, Workload
from marline.mesh.snapshot import MeshSnapshot, advance, empty

PROXY: Final = Proxy(
    "gateway",
    Role.GATEWAY,
    Capture.EXPLICIT,
    (Workload("istio-system", "gateway-1", labels=(("istio", "ingressgateway"),)),),
)
_KINDS: Final = (
    "BackendTLSPolicy", "ConfigMap", "DestinationRule", "Gateway", "GRPCRoute", "HTTPRoute", "ListenerSet",
    "RateLimitPolicy", "ReferenceGrant", "ResiliencePolicy", "Service", "ServiceEntry", "TCPRoute",
    "TLSRoute", "VirtualService",
)  # fmt: skip
_DOCUMENTS: Final = """
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge, namespace: default},
 spec: {gatewayClassName: marline, defaultScope: All, listeners: [
  {name: wide, port: 80, protocol: HTTP, hostname: "*.example.com"},
  {name: narrow, port: 80, protocol: HTTP, hostname: api.example.com},
  {name: other, port: 81, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge, namespace: default},
 spec: {gatewayClassName: marline, listeners: [
  {name: one, port: 443, protocol: HTTPS, hostname: "*.example.com", tls: {certificateRefs: [{name: web}]},
   allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {team: a}}}}},
  {name: two, port: 443, protocol: HTTPS, hostname: api.example.com, tls: {certificateRefs: [{name: web}]}}],
  tls: {frontend: {default: {validation: {
   caCertificateRefs: [{group: "", kind: ConfigMap, name: authority}]}}}}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: default, labels: {team: a}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: default, labels: {team: b}}}
---
{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: ingress, namespace: istio-system},
 spec: {selector: {istio: ingressgateway}, servers: [
  {port: {number: 443, name: https, protocol: HTTPS}, hosts: ["*.default.svc.cluster.local"],
   tls: {mode: MUTUAL, credentialName: client}}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: site, namespace: default},
 spec: {parentRefs: [{name: edge}], hostnames: [a.example.com, API.example.com],
  rules: [{backendRefs: [{name: reviews, port: 9080}]}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: site, namespace: default},
 spec: {parentRefs: [{name: edge, sectionName: wide}], hostnames: ["*.example.com"],
  rules: [{backendRefs: [{name: ratings, port: 9080}]}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: wanting, namespace: other},
 spec: {useDefaultGateways: All, hostnames: [a.example.com, b.example.org],
  rules: [{backendRefs: [{name: db, port: 5432}]}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {name: calls, namespace: default},
 spec: {parentRefs: [{name: edge}], hostnames: [a.example.com, c.example.com],
  rules: [{backendRefs: [{name: reviews, port: 9080}]}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {name: calls, namespace: default},
 spec: {parentRefs: [{name: edge}], rules: [{backendRefs: [{name: ratings, port: 9080}]}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: young, namespace: default,
  creationTimestamp: "2026-01-01T00:00:00Z"},
 spec: {parentRefs: [{name: edge}], hostnames: [c.example.com],
  rules: [{backendRefs: [{name: reviews, port: 9080}]}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: young, namespace: default,
  creationTimestamp: "2026-01-01T00:00:00Z"},
 spec: {parentRefs: [{name: edge}, {group: "", kind: Service, name: reviews}], hostnames: [c.example.com],
  rules: [{backendRefs: [{name: reviews, port: 9080}]}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: young, namespace: default},
 spec: {parentRefs: [{name: edge}], hostnames: [c.example.com],
  rules: [{backendRefs: [{name: reviews, port: 9080}]}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {name: own, namespace: default},
 spec: {parentRefs: [{group: "", kind: Service, name: reviews},
   {group: networking.istio.io, kind: ServiceEntry, name: external}],
  rules: [{backendRefs: [{name: reviews, port: 9080}]}]}}
---
{apiVersion: policy.marline.io/v1alpha1, kind: RateLimitPolicy, metadata: {name: site, namespace: default},
 spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: site},
  {group: networking.istio.io, kind: VirtualService, name: parts}],
  limits: [{name: all, requests: 5, unit: Second}]}}
---
{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: ingress, namespace: istio-system},
 spec: {selector: {istio: ingressgateway}, servers: [
  {port: {number: 80, name: http, protocol: HTTP}, tls: {httpsRedirect: true},
   hosts: [ratings.default.svc.cluster.local, "other/*.default.svc.cluster.local"]},
  {port: {number: 81, name: more, protocol: HTTP}, hosts: ["*.local", legacy.default.svc.cluster.local]},
  {port: {number: 82, name: bytes, protocol: TCP}, hosts: ["*"]}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: edge, namespace: default},
 spec: {hosts: [legacy, "*.svc.cluster.local"], gateways: [istio-system/ingress],
  http: [{name: all, route: [{destination: {host: reviews}}]}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: edge, namespace: default},
 spec: {hosts: ["*"], gateways: [istio-system/ingress], exportTo: [istio-system],
  http: [{match: [{port: 81}], route: [{destination: {host: ratings}}]}],
  tcp: [{route: [{destination: {host: ratings}}]}]}}
"""
_SECRETS: Final = tuple(
    replace(item, metadata=msgspec.structs.replace(item.metadata, namespace=namespace))
    for item in EVERYTHING
    for namespace in ("default", "istio-system")
    if item.kind == "Secret"
)
"""Where the API's Gateways look for them, and where Istio's do."""
NOW: Final = "2026-01-01T00:00:00Z"
POOL: Final = (*(item for item in EVERYTHING if item.kind in _KINDS), *resources(_DOCUMENTS), *_SECRETS)
_CHOICE = st.tuples(st.integers(0, len(POOL) - 1), st.booleans())
steps = st.lists(st.lists(_CHOICE, min_size=1, max_size=3), min_size=4, max_size=25)


def step(state: dict[Ref, Resource[Any]], choices: list[tuple[int, bool]], number: int) -> ChangeSet:
    """Each chosen document is put, or else whatever has its name is removed."""
    put: dict[Ref, Resource[Any]] = {}
    gone: set[Ref] = set()
    for index, keep in choices:
        item = POOL[index]
        if item.ref not in put and item.ref not in gone:
            if keep or item.ref not in state:
                put[item.ref] = state[item.ref] = item
            else:
                gone.add(item.ref)
                del state[item.ref]
    return ChangeSet(tuple(put.values()), tuple(gone), str(number))


@settings(max_examples=300, deadline=None)
@given(st.sets(st.integers(0, len(POOL) - 1)), steps)
def test_following_changes_gives_and_says_what_starting_anew_gives(
    first: set[int], changes: list[list[tuple[int, bool]]]
) -> None:
    state = {POOL[index].ref: POOL[index] for index in first}
    snapshot, _ = advance(empty(MeshSettings()), ChangeSet(tuple(state.values()), (), "0"))
    view: View = {unit: compile_unit(snapshot, PROXY, unit) for unit in units(snapshot, PROXY)}
    told = dict(statuses(snapshot, NOW, [PROXY]))
    for number, choices in enumerate(changes, start=1):
        snapshot, impact = advance(snapshot, step(state, choices, number))
        for unit in affected(snapshot, PROXY, impact):
            view[unit] = compile_unit(snapshot, PROXY, unit)
        told = told_after(told, snapshot, impact)
        anew, _ = advance(empty(MeshSettings()), ChangeSet(tuple(state.values()), (), "1"))
        assert contents(PROXY, view) == whole(anew, PROXY)
        assert told == dict(statuses(anew, NOW, [PROXY]))


def told_after(told: dict[Ref, Status], snapshot: MeshSnapshot, impact: Impact) -> dict[Ref, Status]:
    """What resources are told, of which that is made anew which a change may concern."""
    if impact.every_server or impact.everything:
        return dict(statuses(snapshot, NOW, [PROXY]))
    known = {
        ref: status
        for ref, status in told.items()
        if ref not in impact.routes | impact.servers and snapshot.resource(ref) is not None
    }
    known.update(route_statuses(snapshot, impact.routes, NOW))
    known.update(server_statuses(snapshot, impact.servers, NOW, [PROXY]))
    return known


HOSTS: Final = 50
_MESH: Final = """
{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: istio, namespace: default},
 spec: {selector: {istio: ingressgateway}, servers: [
  {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]},
  {port: {number: 81, name: named, protocol: HTTP}, hosts: ["*.example.com", other.example.org]}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: api, namespace: default},
 spec: {gatewayClassName: marline, listeners: [{name: http, port: 82, protocol: HTTP}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: app, namespace: default},
 spec: {clusterIP: 10.96.0.1, selector: {app: app}, ports: [{name: http, port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: rare, namespace: default},
 spec: {clusterIP: 10.96.0.2, selector: {app: rare}, ports: [{name: http, port: 80}]}}
"""


def virtual_service(
    number: int, timeout: int = 1, host: str = "", backend: str = "app", gateway: str = "istio"
) -> Resource[Any]:
    return _one(f"""
{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: v{number}, namespace: default}},
 spec: {{hosts: ["{host or f"v{number}.example.com"}"], gateways: [{gateway}],
  http: [{{timeout: {timeout}s, route: [{{destination: {{host: {backend}}}}}]}}]}}}}""")


def http_route(number: int, name: str = "", kind: str = "HTTPRoute", parent: str = "api") -> Resource[Any]:
    return _one(f"""
{{apiVersion: gateway.networking.k8s.io/v1, kind: {kind}, metadata: {{name: r{number}, namespace: default}},
 spec: {{parentRefs: [{{name: {parent}}}], hostnames: [r{number}.example.com],
  rules: [{{name: "{name or "all"}", backendRefs: [{{name: app, port: 80}}]}}]}}}}""")


def _one(text: str) -> Resource[Any]:
    return decode(yaml.safe_load(text))


def mesh(*more: Resource[Any]) -> MeshSnapshot:
    routes = [make(number) for number in range(HOSTS) for make in (virtual_service, http_route)]
    given = {item.ref: item for item in (*resources(_MESH), *routes, *more)}
    return advance(empty(MeshSettings()), ChangeSet(tuple(given.values()), (), "1"))[0]


def touched(before: MeshSnapshot, *changed: Resource[Any]) -> tuple[set[Unit], set[str]]:
    """The units that are compiled after a change, and the resources that differ then."""
    known = {recipe for unit in units(before, PROXY) for recipe in compile_unit(before, PROXY, unit)}
    after, impact = advance(before, ChangeSet(changed, (), "2"))
    chosen = set(affected(after, PROXY, impact))
    made = {recipe for unit in chosen for recipe in compile_unit(after, PROXY, unit)}
    return chosen, {recipe.name for recipe in made - known}


def test_a_change_of_one_virtual_service_makes_one_host_anew() -> None:
    chosen, differing = touched(mesh(), virtual_service(7, timeout=9))
    assert chosen == {GatewayHostUnit("v7.example.com")}
    assert differing == {"http.80/v7.example.com", "http.81/v7.example.com"}


LIMITED: Final = """
{apiVersion: policy.marline.io/v1alpha1, kind: RateLimitPolicy, metadata: {name: limits, namespace: default},
 spec: {targetRefs: [{group: networking.istio.io, kind: VirtualService, name: v7},
   {group: gateway.networking.k8s.io, kind: HTTPRoute, name: r7}],
  limits: [{name: all, requests: 5, unit: Second}]}}"""


def test_so_does_one_of_a_route_with_rate_limits() -> None:
    before = mesh(_one(LIMITED))
    chosen, differing = touched(before, virtual_service(7, timeout=9))
    assert chosen == {GatewayHostUnit("v7.example.com")}
    assert differing == {"http.80/v7.example.com", "http.81/v7.example.com"}
    chosen, differing = touched(before, http_route(7, "renamed"))
    assert chosen == {GatewayHostUnit("r7.example.com")}
    assert differing == {"http.82/r7.example.com"}


def test_where_a_route_with_rate_limits_comes_to_listeners_have_their_filters() -> None:
    unbound = virtual_service(7, gateway="nobody")
    chosen, differing = touched(mesh(_one(LIMITED), unbound), virtual_service(7))
    assert GatewayUnit() in chosen
    assert {"0.0.0.0_8080", "http.80", "0.0.0.0_8081", "http.81"} <= differing
    unattached = http_route(7, parent="nobody")
    chosen, differing = touched(mesh(_one(LIMITED), unattached), http_route(7))
    assert GatewayUnit() in chosen
    assert {"0.0.0.0_8082", "http.82"} <= differing


def test_a_change_of_one_http_route_makes_one_host_anew() -> None:
    chosen, differing = touched(mesh(), http_route(7, "renamed"))
    assert chosen == {GatewayHostUnit("r7.example.com")}
    assert differing == {"http.82/r7.example.com"}


def test_a_route_for_more_hosts_than_a_server_is_for_is_made_anew_at_the_servers_name() -> None:
    chosen, differing = touched(mesh(), virtual_service(HOSTS, host="*"))
    names = {"*", "*.example.com", "other.example.org"}
    assert chosen == {GatewayHostUnit(name) for name in names}
    assert differing == {"http.80/*", "http.81/*.example.com", "http.81/other.example.org"}


def test_a_change_of_a_destination_makes_the_hosts_anew_that_lead_there() -> None:
    rule = _one("""
{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: rare, namespace: default},
 spec: {host: rare, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x}}}}}""")
    chosen, differing = touched(mesh(virtual_service(7, backend="rare")), rule)
    assert {unit for unit in chosen if isinstance(unit, (GatewayUnit, GatewayHostUnit))} == {
        GatewayHostUnit("v7.example.com")
    }
    assert {"http.80/v7.example.com", "http.81/v7.example.com"} < differing


def test_where_there_are_routes_of_both_kinds_a_change_makes_those_anew_that_contend_with_it() -> None:
    calls = http_route(HOSTS, kind="GRPCRoute")
    chosen, _ = touched(mesh(calls), http_route(7, "renamed"))
    assert chosen == {GatewayHostUnit("r7.example.com")}


def test_an_unrelated_service_touches_no_gateway() -> None:
    service = _one("""
{apiVersion: v1, kind: Service, metadata: {name: new, namespace: default},
 spec: {clusterIP: 10.96.0.3, selector: {app: new}, ports: [{name: http, port: 80}]}}""")
    chosen, _ = touched(mesh(), service)
    assert not any(isinstance(unit, (GatewayUnit, GatewayHostUnit)) for unit in chosen)


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap", "Namespace"])
def test_what_no_gateway_refers_to_touches_none(kind: str) -> None:
    chosen, _ = touched(mesh(), _one(f"{{apiVersion: v1, kind: {kind}, metadata: {{name: new}}}}"))
    assert not chosen


def test_a_rule_for_connections_makes_the_listeners_anew() -> None:
    gateway = _one("""
{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: bytes, namespace: default},
 spec: {selector: {istio: ingressgateway}, servers: [
  {port: {number: 9000, name: tcp, protocol: TCP}, hosts: ["*"]}]}}""")
    rule = _one("""
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: bytes, namespace: default},
 spec: {hosts: ["tcp.example.com"], gateways: [bytes], tcp: [{route: [{destination: {host: app}}]}]}}""")
    chosen, differing = touched(mesh(gateway), rule)
    assert GatewayUnit() in chosen
    assert differing == {"0.0.0.0_9000"}


def api_gateway(name: str, hostname: str = "*.example.com", scope: str = "None") -> Resource[Any]:
    return _one(f"""
{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: {name}, namespace: default}},
 spec: {{gatewayClassName: marline, defaultScope: {scope},
  listeners: [{{name: http, port: 80, protocol: HTTP, hostname: "{hostname}"}}]}}}}""")


def listener_set(name: str, gateway: str) -> Resource[Any]:
    return _one(f"""
{{apiVersion: gateway.networking.k8s.io/v1, kind: ListenerSet, metadata: {{name: {name}, namespace: default}},
 spec: {{parentRef: {{name: {gateway}}}, listeners: [{{name: more, port: 81, protocol: HTTP}}]}}}}""")


def judged(before: MeshSnapshot, *changed: Resource[Any]) -> set[str]:
    """The names of those that are told anew after a change."""
    _, impact = advance(before, ChangeSet(changed, (), "2"))
    assert not impact.every_server
    return {ref.name for ref in (*impact.servers, *impact.routes)}


def test_a_change_of_one_gateway_is_told_to_it_and_to_what_is_attached_to_it() -> None:
    before = mesh(
        *(api_gateway(f"g{number}") for number in range(9)),
        listener_set("near", "g1"), listener_set("far", "g2"), http_route(HOSTS, parent="g1"),
    )  # fmt: skip
    near = {"g1", "near", f"r{HOSTS}"}
    assert judged(before, api_gateway("g1", "*.example.org")) == near
    assert judged(before, listener_set("near", "nobody")) == {"nobody", *near}
    moved = http_route(HOSTS, parent="g2")
    assert judged(before, moved) == {"g1", "g2", f"r{HOSTS}"}
    assert judged(before, http_route(HOSTS, "renamed", parent="g1")) == {f"r{HOSTS}"}


def test_a_default_gateways_change_is_told_to_the_routes_that_are_for_such() -> None:
    wide = _one("""
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: wide, namespace: default},
 spec: {useDefaultGateways: All, rules: [{backendRefs: [{name: app, port: 80}]}]}}""")
    before = mesh(api_gateway("g1", scope="All"), api_gateway("g2"), wide)
    assert judged(before, api_gateway("g1", "*.example.org", "All")) == {"g1", "wide"}
    assert judged(before, api_gateway("g2", scope="All")) == {"g2", "wide"}
    assert judged(before, replace(wide, spec=msgspec.structs.replace(wide.spec, hostnames=("a.org",)))) == {
        "g1", "wide",
    }  # fmt: skip
