"""What policies are told about their targets."""

from typing import Any

import pytest
import yaml

from marline.api.decode import decode
from marline.api.resource import Ref
from marline.compile.policy_status import policy_status
from marline.mesh.model import ChangeSet, MeshSettings
from marline.mesh.snapshot import MeshSnapshot, advance, empty

MESH = """
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: default},
 spec: {selector: {app: web}, ports: [{name: http, port: 80}, {name: tcp, port: 81}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: raw, namespace: default},
 spec: {selector: {app: web}, ports: [{name: tcp, port: 81}]}}
---
{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: outside, namespace: default},
 spec: {hosts: [www.example.com], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: inner, namespace: default},
 spec: {hosts: [web], http: [{route: [{destination: {host: web}}]}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: edge, namespace: default},
 spec: {hosts: [web], gateways: [edge], http: [{name: one, route: [{destination: {host: web}}]}]}}
---
{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: edge, namespace: default},
 spec: {servers: [{port: {number: 80, name: plain, protocol: HTTP}, hosts: ["*"]}]}}
"""
ISTIO = "group: networking.istio.io, kind"
LIMITS = "limits: [{name: all, requests: 1, unit: Second}]"


def policy(name: str, target: str, kind: str = "RateLimitPolicy", says: str = LIMITS, age: int = 1) -> str:
    created = f"2026-01-{age:02}T00:00:00Z"
    metadata = f"{{name: {name}, namespace: default, creationTimestamp: '{created}'}}"
    head = f"apiVersion: policy.marline.io/v1alpha1, kind: {kind}, metadata: {metadata}"
    return f"\n---\n{{{head}, spec: {{targetRefs: [{{{target}}}], {says}}}}}"


def mesh(*policies: str) -> MeshSnapshot:
    changed = tuple(decode(item) for item in yaml.safe_load_all(MESH + "".join(policies)) if item)
    return advance(empty(MeshSettings()), ChangeSet(changed, (), "1"))[0]


def condition(snapshot: MeshSnapshot, name: str = "own", kind: str = "RateLimitPolicy") -> dict[str, Any]:
    found = snapshot.resource(Ref("policy.marline.io", kind, "default", name))
    assert found is not None
    status = policy_status(snapshot, found, "now")
    assert status is not None
    (ancestor,) = status["ancestors"]
    assert ancestor["controllerName"] == "marline.io/gateway-controller"
    (made,) = ancestor["conditions"]
    assert made["type"] == "Accepted"
    return dict(made)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("kind: Service, name: web", "Accepted"),
        ("kind: Service, name: web, sectionName: http", "Accepted"),
        ("kind: Service, name: web, sectionName: tcp", "Invalid"),
        ("kind: Service, name: web, sectionName: other", "TargetNotFound"),
        ("kind: Service, name: raw", "Invalid"),
        ("kind: Service, name: nobody", "TargetNotFound"),
        (f"{ISTIO}: ServiceEntry, name: outside", "Invalid"),
        (f"{ISTIO}: VirtualService, name: edge", "Accepted"),
        (f"{ISTIO}: VirtualService, name: edge, sectionName: one", "Accepted"),
        (f"{ISTIO}: VirtualService, name: edge, sectionName: two", "TargetNotFound"),
        (f"{ISTIO}: VirtualService, name: inner", "Invalid"),
        (f"{ISTIO}: Gateway, name: edge, sectionName: plain", "Accepted"),
    ],
)
def test_a_rate_limit_is_told_whether_it_acts(target: str, reason: str) -> None:
    made = condition(mesh(policy("own", target)))
    assert (made["reason"], made["status"]) == (reason, str(reason == "Accepted"))


def test_what_callers_do_is_possible_for_services_outside_and_what_the_service_does_is_not() -> None:
    target = f"{ISTIO}: ServiceEntry, name: outside"
    for says, reason in (("hedging: {after: 1s}", "Accepted"), ("adaptiveConcurrency: {}", "Invalid")):
        snapshot = mesh(policy("own", target, "ResiliencePolicy", says))
        assert condition(snapshot, kind="ResiliencePolicy")["reason"] == reason


def test_of_two_policies_for_the_same_the_older_counts_and_the_other_is_told() -> None:
    target = "kind: Service, name: web"
    snapshot = mesh(
        policy("a", target, age=2), policy("b", target, age=1), policy("c", f"{target}, sectionName: http")
    )
    assert [condition(snapshot, name)["reason"] for name in "abc"] == ["Conflicted", "Accepted", "Accepted"]
    assert "default/b" in condition(snapshot, "a")["message"]
    same_age = mesh(policy("b", target), policy("a", target))
    assert [condition(same_age, name)["reason"] for name in "ab"] == ["Accepted", "Conflicted"]
    other_kind = mesh(policy("a", target), policy("b", target, "ResiliencePolicy", "hedging: {after: 1s}"))
    assert condition(other_kind, "b", "ResiliencePolicy")["reason"] == "Accepted"


def test_a_change_concerns_the_policies_of_what_has_changed_and_no_others() -> None:
    snapshot = mesh(policy("a", "kind: Service, name: web"), policy("b", "kind: Service, name: raw"))
    gone = Ref("", "Service", "default", "web")
    after, impact = advance(snapshot, ChangeSet((), (gone,), "2"))
    assert [ref.name for ref in impact.policies] == ["a"]
    assert condition(after, "a")["reason"] == "TargetNotFound"
    older = decode(yaml.safe_load(policy("c", "kind: Service, name: raw", age=1).partition("---")[2]))
    after, impact = advance(snapshot, ChangeSet((older,), (), "2"))
    assert sorted(ref.name for ref in impact.policies) == ["b", "c"]
    assert not impact.hosts


def test_a_status_that_says_so_already_is_not_written_again() -> None:
    snapshot = mesh(policy("own", "kind: Service, name: web"))
    ref = Ref("policy.marline.io", "RateLimitPolicy", "default", "own")
    found = snapshot.resource(ref)
    assert found is not None
    status = policy_status(snapshot, found, "then")
    told = type(found)(found.group, found.version, found.kind, found.metadata, found.spec, status or {})
    assert policy_status(snapshot, told, "now") is None
