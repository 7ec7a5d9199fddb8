"""VirtualServices that delegate: whose rules count, under which conditions, and what a change touches."""

from typing import Any

import pytest
from mesh_resources import changed, mesh, resource, service

from marline.api.networking.virtual_service import HTTPRoute
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.visibility import Scope

REVIEWS = "reviews.default.svc.cluster.local"


def root(*rules: Any, **fields: Any) -> Any:
    return resource("VirtualService", "root", hosts=["reviews"], http=list(rules), **fields)


def delegate(*rules: Any, namespace: str = "default", **fields: Any) -> Any:
    return resource("VirtualService", "parts", namespace, http=list(rules), **fields)


def to(host: str, **fields: Any) -> Any:
    return {"route": [{"destination": {"host": host}}], **fields}


def under(*match: Any, namespace: str = "", **fields: Any) -> Any:
    return {"match": list(match), "delegate": {"name": "parts", "namespace": namespace}, **fields}


def rules(snapshot: MeshSnapshot) -> tuple[HTTPRoute, ...]:
    found = snapshot.virtual_service(REVIEWS, Scope("default"))
    return found.spec.http if found is not None else ()


def uris(snapshot: MeshSnapshot) -> list[list[str]]:
    return [
        [match.uri.exact or match.uri.prefix or match.uri.regex or "" for match in rule.match if match.uri]
        for rule in rules(snapshot)
    ]


def prefix(value: str, **fields: Any) -> Any:
    return {"uri": {"prefix": value}, **fields}


def test_the_delegates_rules_stand_where_the_root_delegates() -> None:
    parts = delegate({"match": [prefix("/a/x")], **to("x")}, to("y"))
    snapshot = mesh(service("reviews"), root(to("first", match=[prefix("/0")]), under(prefix("/a")),
                                             to("last")), parts)  # fmt: skip
    assert uris(snapshot) == [["/0"], ["/a/x"], ["/a"], []]
    hosts = [rule.route[0].destination.host for rule in rules(snapshot)]
    assert hosts == ["first", "x.default.svc.cluster.local", "y.default.svc.cluster.local", "last"]


def test_a_match_stands_under_each_of_the_roots_that_lets_it_through() -> None:
    above = (prefix("/a", name="one"), {"headers": {"x": {"exact": "1"}}, "name": "two"})
    parts = delegate({"match": [prefix("/a/x", name="own")], **to("x")})
    (rule,) = rules(mesh(service("reviews"), root(under(*above)), parts))
    assert [match.name for match in rule.match] == ["one-own", "two-own"]
    assert [dict(match.headers) for match in rule.match] != [{}, {}]
    assert [match.uri.prefix for match in rule.match if match.uri] == ["/a/x", "/a/x"]


@pytest.mark.parametrize(
    ("above", "below"),
    [
        (prefix("/a"), prefix("/b")),
        (prefix("/a/b"), prefix("/a")),
        ({"uri": {"exact": "/a"}}, prefix("/a")),
        ({"uri": {"exact": "/a"}}, {"uri": {"exact": "/b"}}),
        ({"uri": {"regex": "/a.*"}}, prefix("/a")),
        (prefix("/a"), {"uri": {"regex": "/a.*"}}),
        ({"method": {"exact": "GET"}}, {"method": {"exact": "PUT"}}),
        ({"headers": {"x": {"exact": "1"}}}, {"headers": {"x": {"exact": "2"}}}),
        ({"withoutHeaders": {"x": {"exact": "1"}}}, {"withoutHeaders": {"x": {"exact": "2"}}}),
        ({"queryParams": {"x": {"prefix": "1"}}}, {"queryParams": {"x": {"exact": "2"}}}),
        (prefix("/a", ignoreUriCase=True), prefix("/a")),
        ({"port": 80}, {"port": 81}),
        ({"sourceNamespace": "a"}, {"sourceNamespace": "b"}),
        ({"sourceLabels": {"app": "a"}}, {"sourceLabels": {"app": "b"}}),
        ({"gateways": ["mesh"]}, {"gateways": ["edge"]}),
    ],
)  # fmt: skip
def test_a_rule_that_conflicts_with_the_root_is_left_out(above: Any, below: Any) -> None:
    parts = delegate({"match": [below], **to("x")}, to("rest"))
    (rule,) = rules(mesh(service("reviews"), root(under(above)), parts))
    assert rule.route[0].destination.host == "rest.default.svc.cluster.local"


def test_what_a_delegate_does_not_say_it_has_from_the_root() -> None:
    above = under(prefix("/a"), name="root", timeout="3s", retries={"attempts": 4}, rewrite={"uri": "/"})
    parts = delegate(to("x", name="own", timeout="0s"))
    (rule,) = rules(mesh(service("reviews"), root(above), parts))
    assert (rule.name, rule.timeout) == ("root-own", 0)
    assert rule.retries is not None and rule.retries.attempts == 4
    assert rule.rewrite is not None and rule.rewrite.uri == "/"


@pytest.mark.parametrize(
    ("parts", "count"),
    [
        (delegate(to("x"), namespace="other"), 1),
        (delegate(to("x"), namespace="other", exportTo=["default"]), 1),
        (delegate(to("x"), namespace="other", exportTo=["."]), 0),
        (delegate(to("x"), namespace="elsewhere"), 0),
        (delegate(to("x"), namespace="other", hosts=["own"]), 0),
        (delegate({"delegate": {"name": "more"}}, namespace="other"), 0),
    ],
)
def test_only_a_delegate_without_hosts_that_is_exported_to_the_root_counts(parts: Any, count: int) -> None:
    snapshot = mesh(service("reviews"), root(under(namespace="other"), to("last")), parts)
    assert [rule.route[0].destination.host for rule in rules(snapshot)] == [
        *["x.other.svc.cluster.local"] * count, "last",
    ]  # fmt: skip


def test_each_rule_says_where_it_is_written() -> None:
    parts = delegate(to("x"), {"match": [prefix("/a/y")], **to("y")})
    snapshot = mesh(service("reviews"), root(under(prefix("/a")), to("last")), parts)
    found = snapshot.virtual_service(REVIEWS, Scope("default"))
    assert found is not None
    origins = snapshot.merged(found).origins
    assert [(item.resource.name, item.field, item.matches) for item in origins] == [
        ("parts", "spec.http[0]", ("spec.http[0]",)),
        ("parts", "spec.http[1]", ("spec.http[1].match[0]",)),
        ("root", "spec.http[1]", ()),
    ]


def test_a_change_of_a_delegate_touches_the_hosts_of_its_roots_only() -> None:
    snapshot = mesh(service("reviews"), service("ratings"), root(under()), delegate(to("ratings")))
    after, impact = changed(snapshot, delegate(to("reviews"), generation=2))
    assert impact.hosts == {REVIEWS}
    assert rules(after)[0].route[0].destination.host == REVIEWS


def test_a_change_of_a_delegates_destination_touches_its_roots() -> None:
    snapshot = mesh(service("reviews"), service("ratings"), root(under()), delegate(to("ratings")))
    _, impact = changed(snapshot, service("ratings", "http:9090"))
    assert REVIEWS in impact.hosts
