"""EnvoyFilters that could not have the effect that they ask for are refused, with the field at fault."""

from typing import Any

import pytest

from marline.api.decode import admit
from marline.api.errors import Fault, FieldError, InvalidResource

HCM = "envoy.filters.network.http_connection_manager"
LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"


def errors(apply_to: str, operation: str, value: Any = None, **match: Any) -> dict[str, FieldError]:
    """By path below `spec.configPatches[0]`."""
    body = {"operation": operation, **({} if value is None else {"value": value})}
    spec = {"configPatches": [{"applyTo": apply_to, "match": match, "patch": body}]}
    head = {"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter"}
    try:
        admit({**head, "metadata": {"name": "x", "namespace": "default"}, "spec": spec})
    except InvalidResource as error:
        return {item.path.removeprefix("spec.configPatches[0]."): item for item in error.errors}
    return {}


def typed(config: dict[str, Any]) -> dict[str, Any]:
    return {"name": "x", "typed_config": config}


@pytest.mark.parametrize(
    ("value", "path", "said"),
    [
        (typed({"@type": LUA, "inline_cod": "x"}), "patch.value.typed_config.inline_cod", "unknown field"),
        (
            typed({"@type": "type.googleapis.com/stats.PluginConfig"}),
            "patch.value.typed_config.@type",
            "no type",
        ),
        (typed({"@type": "t/envoy.config.filter.http.lua.v2.Lua"}), "patch.value.typed_config.@type", "v3"),
        (typed({"inline_code": "x"}), "patch.value.typed_config.@type", "required"),
        ({"name": 7}, "patch.value.name", "string"),
        ({"name": "x", "disabled": {}}, "patch.value.disabled", "true or false"),
        ({"nam": "x"}, "patch.value.nam", "unknown field"),
    ],
)
def test_values_are_of_envoys_types(value: dict[str, Any], path: str, said: str) -> None:
    found = errors("HTTP_FILTER", "INSERT_FIRST", value)
    assert list(found) == [path]
    assert said in found[path].message


def test_misspelt_fields_of_values_are_told_what_was_meant() -> None:
    found = errors("CLUSTER", "MERGE", {"conect_timeout": "1s", "connectTimeot": "1s"})
    assert {item.suggestion for item in found.values()} == {"connect_timeout", "connectTimeout"}


def test_durations_lists_and_maps_of_values_are_checked_where_they_are() -> None:
    options = {"a": {"@type": "t/none.Such"}}
    value = {"connect_timeout": "soon", "filters": {}, "typed_extension_protocol_options": options}
    assert set(errors("CLUSTER", "MERGE", value)) == {
        "patch.value.connect_timeout",
        "patch.value.filters",
        "patch.value.typed_extension_protocol_options[a].@type",
    }


def test_typed_structs_are_read_as_the_type_that_they_name() -> None:
    kind = "type.googleapis.com/udpa.type.v1.TypedStruct"
    given = typed({"@type": kind, "type_url": LUA, "value": {"inline_cod": "x"}})
    assert list(errors("HTTP_FILTER", "ADD", given)) == ["patch.value.typed_config.value.inline_cod"]
    assert errors("HTTP_FILTER", "ADD", typed({"@type": kind, "type_url": LUA, "value": {}})) == {}


@pytest.mark.parametrize(
    ("apply_to", "operation", "match", "path"),
    [
        ("ROUTE_CONFIGURATION", "ADD", {}, "patch.operation"),
        ("CLUSTER", "REPLACE", {}, "patch.operation"),
        ("CLUSTER", "MERGE", {"listener": {"portNumber": 80}}, "match.listener"),
        ("LISTENER", "MERGE", {"cluster": {"name": "x"}}, "match.cluster"),
        ("LISTENER", "MERGE", {"listener": {"filterChain": {"name": "x"}}}, "match.listener.filterChain"),
        (
            "FILTER_CHAIN", "MERGE", {"listener": {"filterChain": {"filter": {"name": HCM}}}},
            "match.listener.filterChain.filter",
        ),
        (
            "NETWORK_FILTER", "MERGE",
            {"listener": {"filterChain": {"filter": {"name": HCM, "subFilter": {"name": "x"}}}}},
            "match.listener.filterChain.filter.subFilter",
        ),
        (
            "HTTP_FILTER", "ADD",
            {"listener": {"filterChain": {"filter": {"name": "x", "subFilter": {"name": "x"}}}}},
            "match.listener.filterChain.filter.name",
        ),
        ("HTTP_FILTER", "REPLACE", {}, "match.listener.filterChain.filter.subFilter"),
        ("NETWORK_FILTER", "REPLACE", {}, "match.listener.filterChain.filter"),
        ("LISTENER_FILTER", "MERGE", {}, "match.listener.listenerFilter"),
        (
            "HTTP_ROUTE", "MERGE", {"routeConfiguration": {"gateway": "a/b"}},
            "match.routeConfiguration.gateway",
        ),
        (
            "VIRTUAL_HOST", "MERGE", {"routeConfiguration": {"vhost": {"route": {"name": "x"}}}},
            "match.routeConfiguration.vhost.route",
        ),
        ("CLUSTER", "MERGE", {"proxy": {"proxyVersion": "(?=x)"}}, "match.proxy.proxyVersion"),
    ],
)  # fmt: skip
def test_conditions_without_effect_are_refused(
    apply_to: str, operation: str, match: dict[str, Any], path: str
) -> None:
    value = {"name": "x"} if "FILTER" in apply_to or apply_to == "HTTP_ROUTE" else {"metadata": {}}
    assert path in errors(apply_to, operation, value, **match)


def test_merges_rename_nothing_and_additions_take_no_name_that_there_is() -> None:
    assert list(errors("CLUSTER", "MERGE", {"name": "x"})) == ["patch.value.name"]
    assert errors("CLUSTER", "MERGE", {"name": "x"}, cluster={"name": "x"}) == {}
    assert list(errors("CLUSTER", "ADD", {"connect_timeout": "1s"})) == ["patch.value.name"]
    assert list(errors("CLUSTER", "ADD", {"name": "outbound|80||x"})) == ["patch.value.name"]
    assert list(errors("LISTENER", "ADD", {"name": "10.0.0.1_80"})) == ["patch.value.name"]


def test_a_removal_has_no_value_and_everything_else_has_one() -> None:
    assert list(errors("CLUSTER", "REMOVE", {"name": "x"})) == ["patch.value"]
    assert errors("CLUSTER", "MERGE")["patch.value"].fault is Fault.REQUIRED


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"dynamic_resources": {}}, "dynamic_resources"),
        ({"admin": {"address": {"pipe": {"path": "x"}}}}, "admin.address"),
        ({"node": {"id": "other"}}, "node.id"),
        ({"node": {"metadata": {"MARLINE": {}}}}, "node.metadata.MARLINE"),
        ({"staticResources": {"clusters": [{"name": "xds-grpc"}]}}, "static_resources.clusters[0].name"),
    ],
)
def test_a_bootstrap_keeps_what_joins_a_proxy_to_the_mesh(value: dict[str, Any], path: str) -> None:
    assert list(errors("BOOTSTRAP", "MERGE", value)) == [f"patch.value.{path}"]


def test_the_rest_of_a_bootstrap_can_be_changed_but_only_by_a_merge() -> None:
    value = {"admin": {"profile_path": "/tmp/x"}, "node": {"metadata": {"team": "red"}}}
    assert errors("BOOTSTRAP", "MERGE", value) == {}
    assert list(errors("BOOTSTRAP", "ADD", value)) == ["patch.operation"]
