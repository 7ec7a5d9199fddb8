"""The rules of the Gateway API's CRDs: what their schemas and CEL expressions demand."""

from typing import Any

import pytest

from marline.api.decode import admit
from marline.api.errors import InvalidResource

PREFIX = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/x"}


def faults(kind: str, spec: dict[str, Any]) -> list[str]:
    obj = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": "a", "namespace": "b"},
        "spec": spec,
    }
    try:
        admit(obj)
    except InvalidResource as error:
        return [fault.path.removeprefix("spec.") for fault in error.errors]
    return []


def route(**rule: Any) -> list[str]:
    found = faults("HTTPRoute", {"parentRefs": [{"name": "public"}], "rules": [rule]})
    return [path.removeprefix("rules[0].") for path in found]


def match(**condition: Any) -> list[str]:
    return [path.removeprefix("matches[0].") for path in route(matches=[condition])]


def filtered(*filters: dict[str, Any], **rule: Any) -> list[str]:
    return route(filters=list(filters), **rule)


def listeners(*items: dict[str, Any]) -> list[str]:
    found = faults("Gateway", {"gatewayClassName": "marline", "listeners": list(items)})
    return [path.removeprefix("listeners") for path in found]


def http(**fields: Any) -> dict[str, Any]:
    return {"name": "http", "port": 80, "protocol": "HTTP", **fields}


def https(**tls: Any) -> dict[str, Any]:
    return {"name": "https", "port": 443, "protocol": "HTTPS", "tls": tls}


def redirect(**fields: Any) -> dict[str, Any]:
    return {"type": "RequestRedirect", "requestRedirect": fields}


def rewrite(**fields: Any) -> dict[str, Any]:
    return {"type": "URLRewrite", "urlRewrite": fields}


@pytest.mark.parametrize(
    "value",
    ["foo", "/a//b", "/a/./b", "/a/../b", "/a/..", "/a%2Fb", "/a?b", "/a#b", "/a b", "/" + "a" * 1024],
)
def test_paths_are_absolute_and_normal(value: str) -> None:
    for kind in ("Exact", "PathPrefix"):
        assert match(path={"type": kind, "value": value}) == ["path.value"]
    assert match(path={"type": "Exact", "value": "/a/%41-._~!$&'()*+,;=:@"}) == []


def test_matches_of_headers_and_parameters_are_checked() -> None:
    assert match(headers=[{"name": "a b", "value": "x"}]) == ["headers[0].name"]
    assert match(headers=[{"name": ":path", "value": "x"}]) == ["headers[0].name"]
    assert match(headers=[{"name": "a", "value": ""}]) == ["headers[0].value"]
    assert match(headers=[{"name": "a", "value": "x" * 4097}]) == ["headers[0].value"]
    assert match(queryParams=[{"name": "a b", "value": "("}]) == ["queryParams[0].name"]
    assert match(headers=[{"name": "a", "value": "x"}] * 2) == ["headers[1]"]
    assert match(headers=[{"name": f"a{index}", "value": "x"} for index in range(17)]) == ["headers"]


def test_a_filter_has_the_field_of_its_type_only() -> None:
    assert filtered({"type": "URLRewrite"}) == ["filters[0].urlRewrite"]
    assert filtered({**rewrite(hostname="a"), "requestMirror": {"backendRef": {"name": "b", "port": 1}}}) == [
        "filters[0].requestMirror"
    ]
    assert filtered(
        {"type": "RequestRedirect", "requestRedirect": {"path": {"type": "ReplaceFullPath"}}}
    ) == ["filters[0].requestRedirect.path.replaceFullPath"]


def test_filters_do_not_contradict_each_other() -> None:
    assert filtered(redirect(port=1), redirect(port=2)) == ["filters[1]"]
    assert filtered(redirect(port=1), rewrite(hostname="a")) == ["filters"]
    assert filtered(redirect(port=1), backendRefs=[{"name": "a", "port": 1}]) == ["backendRefs"]
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "a", "port": 1}}}
    assert filtered(mirror, mirror) == []


def test_replacing_a_prefix_needs_one_match_by_prefix() -> None:
    one, other = {"path": {"value": "/a"}}, {"path": {"value": "/b"}}
    exact = {"path": {"type": "Exact", "value": "/a"}}
    for change, name in ((redirect(path=PREFIX), "requestRedirect"), (rewrite(path=PREFIX), "urlRewrite")):
        assert filtered(change, matches=[one]) == []
        assert filtered(change) == []
        assert filtered(change, matches=[{"method": "GET"}]) == []
        for matches in ([one, other], [exact]):
            assert filtered(change, matches=matches) == [f"filters[0].{name}.path.type"]


def test_what_is_put_in_place_of_a_path_is_a_path() -> None:
    for value in ("new", "/a b", "/ä"):
        full = {"type": "ReplaceFullPath", "replaceFullPath": value}
        assert filtered(redirect(path=full)) == ["filters[0].requestRedirect.path.replaceFullPath"]
        prefix = {"type": "ReplacePrefixMatch", "replacePrefixMatch": value}
        assert filtered(rewrite(path=prefix)) == ["filters[0].urlRewrite.path.replacePrefixMatch"]
    empty = {"type": "ReplacePrefixMatch", "replacePrefixMatch": ""}
    assert filtered(rewrite(path=empty)) == []
    assert filtered(redirect(path={"type": "ReplaceFullPath", "replaceFullPath": ""})) != []


@pytest.mark.parametrize("name", ["*.example.com", "Example.com", "10.0.0.1", "a..b", "", "a_b"])
def test_a_replacing_hostname_is_one_host(name: str) -> None:
    assert filtered(redirect(hostname=name)) == ["filters[0].requestRedirect.hostname"]


def test_header_filters_name_each_header_once() -> None:
    twice = [{"name": "X-A", "value": "1"}, {"name": "x-a", "value": "2"}]
    edit = {"set": twice, "add": [{"name": ":path", "value": "/"}], "remove": ["a b"]}
    found = filtered({"type": "RequestHeaderModifier", "requestHeaderModifier": edit})
    assert [path.removeprefix("filters[0].requestHeaderModifier.") for path in found] == [
        "set[1]",
        "add[0].name",
        "remove[0]",
    ]


def test_backends_mirrors_and_timeouts_are_checked() -> None:
    assert route(backendRefs=[{"name": "a"}]) == ["backendRefs[0].port"]
    assert route(backendRefs=[{"name": "a", "group": "example.com", "kind": "Other"}]) == []
    backend = {"name": "a", "port": 1}
    for extra, path in (
        ({"percent": 1, "fraction": {"numerator": 1}}, "fraction"),
        ({"fraction": {"numerator": 3, "denominator": 2}}, "fraction.numerator"),
    ):
        mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": backend, **extra}}
        assert filtered(mirror) == [f"filters[0].requestMirror.{path}"]
    assert route(timeouts={"request": "1s", "backendRequest": "2s"}) == ["timeouts.backendRequest"]
    assert route(timeouts={"request": "0s", "backendRequest": "2s"}) == []
    assert route(timeouts={"request": "-1s"}) == ["timeouts.request"]


def test_rules_and_matches_have_limits() -> None:
    many = [{"matches": [{"path": {"value": f"/{i}/{j}"}} for j in range(13)]} for i in range(10)]
    assert faults("HTTPRoute", {"rules": many}) == ["rules"]
    assert faults("HTTPRoute", {"rules": [{}] * 17}) == ["rules"]
    assert faults("HTTPRoute", {"rules": []}) == ["rules"]
    assert faults("HTTPRoute", {"rules": [{"name": "a"}, {"name": "a"}]}) == ["rules[1].name"]
    assert faults("HTTPRoute", {"hostnames": ["*", "a.*.b"]}) == ["hostnames[0]", "hostnames[1]"]


def test_parents_are_told_apart() -> None:
    def parents(*refs: dict[str, Any]) -> list[str]:
        return faults("HTTPRoute", {"parentRefs": list(refs)})

    assert parents({"name": "a"}, {"name": "b"}) == []
    assert parents({"name": "a"}, {"name": "a"}) == ["parentRefs[1]"]
    assert parents({"name": "a", "sectionName": "x"}, {"name": "a"}) == ["parentRefs[1]"]
    assert parents({"name": "a", "sectionName": "x"}, {"name": "a", "sectionName": "x"}) == ["parentRefs[1]"]
    assert parents({"name": "a", "sectionName": "x"}, {"name": "a", "port": 80}) == []


def test_listeners_are_told_apart() -> None:
    assert listeners() == [""]
    assert listeners(http(), http(port=81)) == ["[1]"]
    assert listeners(http(), http(name="other")) == ["[1]"]
    assert listeners(http(), http(name="other", hostname="a.example.com")) == []
    assert listeners(http(name="Http")) == ["[0].name"]
    assert listeners(http(hostname="*")) == ["[0].hostname"]
    assert listeners(http(protocol="a b")) == ["[0].protocol"]
    assert listeners(http(protocol="example.com/other")) == []


def test_a_listener_has_tls_settings_when_it_terminates_tls() -> None:
    certificate = {"certificateRefs": [{"name": "certificate"}]}
    assert listeners(https(**certificate)) == []
    assert listeners({"name": "a", "port": 1, "protocol": "TLS"}) == ["[0].tls"]
    assert listeners(https()) == ["[0].tls.certificateRefs"]
    assert listeners(http(tls=certificate)) == ["[0].tls"]
    assert "[0].tls.mode" in listeners(https(mode="Passthrough"))


def test_routes_are_selected_by_a_selector_where_one_is_asked_for() -> None:
    def allowed(**namespaces: Any) -> list[str]:
        found = listeners(http(allowedRoutes={"namespaces": namespaces}))
        return [path.removeprefix("[0].allowedRoutes.namespaces.") for path in found]

    assert allowed(**{"from": "Selector"}) == ["selector"]
    assert allowed(**{"from": "All", "selector": {"matchLabels": {"a": "b"}}}) == ["selector"]
    expression = {"key": "a", "operator": "In"}
    assert allowed(**{"from": "Selector", "selector": {"matchExpressions": [expression]}}) == [
        "selector.matchExpressions[0].values"
    ]


def test_grants_and_classes_are_checked() -> None:
    grant = {"from": [], "to": [{"group": "A", "kind": "Service"}]}
    assert faults("ReferenceGrant", grant) == ["from", "to[0].group"]
    assert faults("GatewayClass", {"controllerName": "marline"}) == ["metadata.namespace", "controllerName"]


def test_grpc_methods_are_named_as_grpc_names_them() -> None:
    def method(**fields: Any) -> list[str]:
        found = faults("GRPCRoute", {"rules": [{"matches": [{"method": fields}]}]})
        return [path.removeprefix("rules[0].matches[0].") for path in found]

    assert method() == ["method"]
    assert method(service="demo.Greeter", method="Hello") == []
    assert method(service="/demo.Greeter", method="Hello/x") == ["method.service", "method.method"]
    assert faults("GRPCRoute", {}) == []
    twice = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["a"]}}
    assert faults("GRPCRoute", {"rules": [{"filters": [twice, twice]}]}) == ["rules[0].filters[1]"]
