"""What each operation does to the messages that it is applied to."""

import json
from typing import Any

import pytest
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from patch_mesh import (
    EXPLICIT,
    GATEWAY,
    HCM,
    REVIEWS,
    TRANSPARENT,
    envoy_filter,
    made,
    mesh,
    patched,
    recipes,
)

from marline.compile.resource import ENDPOINT
from marline.mesh.model import Proxy

NAME = "0.0.0.0_9080"
CLUSTER = f"outbound|9080||{REVIEWS}"
CORS = "envoy.filters.http.cors"
PREFIX = "type.googleapis.com/"


def patch(apply_to: str, operation: str, value: Any = None, /, **said: Any) -> dict[str, Any]:
    """One of `configPatches`; said: what its match has, and `filterClass`."""
    filter_class = said.pop("filterClass", "UNSPECIFIED")
    body = {"operation": operation, "filterClass": filter_class, **({"value": value} if value else {})}
    return {"applyTo": apply_to, "match": said, "patch": body}


def result(name: str, *patches: dict[str, Any], proxy: Proxy = TRANSPARENT) -> Any:
    return made(mesh(envoy_filter(json.dumps(patches))), proxy, name)


def in_listener(name: str = NAME, **chain: Any) -> dict[str, Any]:
    return {"name": name, **({"filterChain": chain} if chain else {})}


def manager_of(listener: Any) -> Any:
    return hcm_pb2.HttpConnectionManager.FromString(listener.filter_chains[0].filters[-1].typed_config.value)


def http_filters(operation: str, match: str = "", **said: str) -> list[str]:
    sub = {"subFilter": {"name": match}} if match else {}
    where = in_listener(filter={"name": HCM, **sub})
    value = None if operation == "REMOVE" else {"name": "new"}
    found = manager_of(result(NAME, patch("HTTP_FILTER", operation, value, listener=where, **said)))
    return [item.name.rpartition(".")[2] for item in found.http_filters]


@pytest.mark.parametrize(
    ("operation", "match", "expected"),
    [
        ("INSERT_BEFORE", CORS, "fault new cors router"),
        ("INSERT_AFTER", CORS, "fault cors new router"),
        ("INSERT_BEFORE", "", "new fault cors router"),
        ("INSERT_AFTER", "", "fault cors new router"),
        ("INSERT_FIRST", "", "new fault cors router"),
        ("ADD", "", "fault cors new router"),
        ("REPLACE", CORS, "fault new router"),
        ("REMOVE", CORS, "fault router"),
        ("INSERT_BEFORE", "istio.stats", "fault cors router"),
        ("INSERT_BEFORE", "envoy.cors", "fault new cors router"),
    ],
)
def test_http_filters_are_put_where_the_operation_says(operation: str, match: str, expected: str) -> None:
    known = ("fault", "cors", "new", "router")
    assert [name for name in http_filters(operation, match) if name in known] == expected.split()


@pytest.mark.parametrize(("filter_class", "place"), [("AUTHN", 0), ("AUTHZ", 0), ("STATS", -2)])
def test_a_filter_class_says_where_an_added_filter_goes(filter_class: str, place: int) -> None:
    assert http_filters("ADD", filterClass=filter_class)[place] == "new"


def test_a_merge_reaches_into_typed_configs_and_appends_to_lists() -> None:
    config = {
        "@type": PREFIX + hcm_pb2.HttpConnectionManager.DESCRIPTOR.full_name,
        "normalize_path": False,
        "stream_idle_timeout": "7.5s",
        "upgrade_configs": [{"upgrade_type": "spdy/3.1"}],
    }
    where = in_listener(filter={"name": HCM})
    listener = result(NAME, patch("NETWORK_FILTER", "MERGE", {"typed_config": config}, listener=where))
    found = manager_of(listener)
    assert found.HasField("normalize_path")
    assert not found.normalize_path.value
    assert (found.stream_idle_timeout.seconds, found.stream_idle_timeout.nanos) == (7, 500_000_000)
    assert [item.upgrade_type for item in found.upgrade_configs] == ["websocket", "spdy/3.1"]
    assert found.rds.route_config_name == "9080"


def test_a_merge_of_another_type_of_config_does_not_apply() -> None:
    config = {"@type": PREFIX + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "x"}
    where = in_listener(filter={"name": HCM})
    snapshot = mesh(
        envoy_filter(json.dumps([patch("NETWORK_FILTER", "MERGE", {"typed_config": config}, listener=where)]))
    )
    assert patched(snapshot, TRANSPARENT) == {}


def test_lists_are_appended_to_or_replaced() -> None:
    added = {"routes": [{"name": "mine", "match": {"prefix": "/"}, "redirect": {}}]}
    where = {"name": "9080", "vhost": {"name": "allow_any"}}
    names = {}
    for operation in ("MERGE", "MERGE_AND_REPLACE_LIST"):
        table = result("9080", patch("VIRTUAL_HOST", operation, added, routeConfiguration=where))
        names[operation] = [route.name for route in table.virtual_hosts[0].routes]
    assert names["MERGE"][-1] == "mine"
    assert len(names["MERGE"]) > 1
    assert names["MERGE_AND_REPLACE_LIST"] == ["mine"]


def test_a_transport_socket_is_merged_into_the_one_of_its_name() -> None:
    config = {"@type": PREFIX + tls_pb2.UpstreamTlsContext.DESCRIPTOR.full_name, "max_session_keys": 7}
    socket = {"name": "envoy.transport_sockets.tls", "typed_config": config}
    value = {"transport_socket": socket, "connect_timeout": "3s"}
    cluster = result(CLUSTER, patch("CLUSTER", "MERGE", value))
    assert not cluster.HasField("transport_socket")
    made = cluster.transport_socket_matches[0].transport_socket.typed_config
    context = tls_pb2.UpstreamTlsContext.FromString(made.value)
    assert context.max_session_keys.value == 7
    assert context.sni.startswith("outbound_.9080_")
    assert cluster.connect_timeout.seconds == 3


def test_a_route_is_put_before_after_or_at_the_end() -> None:
    def routes(operation: str, **route: str) -> list[str]:
        value = {"name": "new", "match": {"prefix": "/new"}, "redirect": {}}
        host = {"name": f"{REVIEWS}:9080", **({"route": route} if route else {})}
        where = {"name": "9080", "vhost": host}
        made = result(f"9080/{REVIEWS}:9080", patch("HTTP_ROUTE", operation, value, routeConfiguration=where))
        return [item.name for item in made.routes]

    assert routes("INSERT_BEFORE", name="default") == ["new", "default"]
    assert routes("INSERT_AFTER", name="default") == ["default", "new"]
    assert routes("INSERT_FIRST", name="default") == ["new", "default"]
    assert routes("INSERT_FIRST", name="other") == ["default"]
    assert routes("ADD") == ["default", "new"]


@pytest.mark.parametrize(
    ("name", "item"),
    [
        (CLUSTER, patch("CLUSTER", "REMOVE", cluster={"name": CLUSTER})),
        (NAME, patch("LISTENER", "REMOVE", listener={"portNumber": 9080})),
        (f"9080/{REVIEWS}:9080", patch("VIRTUAL_HOST", "REMOVE",
                                       routeConfiguration={"vhost": {"name": f"{REVIEWS}:9080"}})),
    ],
)  # fmt: skip
def test_what_is_removed_is_no_resource_and_says_by_what(name: str, item: dict[str, Any]) -> None:
    snapshot = mesh(envoy_filter(json.dumps([item])))
    found = (recipe for recipe in recipes(snapshot, TRANSPARENT) if recipe.name == name)
    (blob,) = (recipe.make() for recipe in found if recipe.type_url != ENDPOINT)
    assert blob.is_removed
    assert [one.index for one in blob.patches] == [0]


def test_filter_chains_and_listener_filters_are_changed() -> None:
    inspector = "envoy.filters.listener.tls_inspector"
    listener = result(
        "virtualInbound",
        patch("FILTER_CHAIN", "REMOVE", listener=in_listener("virtualInbound", destinationPort=9080)),
        patch("FILTER_CHAIN", "ADD", {"name": "mine"}, listener=in_listener("virtualInbound")),
        patch("LISTENER_FILTER", "INSERT_BEFORE", {"name": "before"},
              listener={"name": "virtualInbound", "listenerFilter": inspector}),
        patch("LISTENER", "MERGE", {"enable_reuse_port": False}, listener=in_listener("virtualInbound")),
    )  # fmt: skip
    names = [chain.name for chain in listener.filter_chains]
    assert "mine" in names
    assert not any(name.startswith("inbound|9080") for name in names)
    filters = [item.name for item in listener.listener_filters]
    assert filters.index("before") + 1 == filters.index(inspector)
    assert listener.HasField("enable_reuse_port")


@pytest.mark.parametrize(
    ("context", "added_to"),
    [
        ("ANY", {"transparent", "explicit", "gateway"}),
        ("SIDECAR_INBOUND", {"transparent", "explicit"}),
        ("GATEWAY", {"gateway"}),
    ],
)
def test_what_is_added_stands_beside_the_rest(context: str, added_to: set[str]) -> None:
    items = [
        patch("CLUSTER", "ADD", {"name": "mine", "connect_timeout": "1s"}, context=context),
        patch("LISTENER", "ADD", {"name": "mine"}, context=context),
        patch("EXTENSION_CONFIG", "ADD", {"name": "mine"}, context=context),
        patch("CLUSTER", "ADD", {"name": "mine", "connect_timeout": "2s"}, context=context),
    ]
    snapshot = mesh(envoy_filter(json.dumps(items)))
    found = {
        proxy.node_id: [item for item in recipes(snapshot, proxy) if item.name == "mine"]
        for proxy in (TRANSPARENT, EXPLICIT, GATEWAY)
    }
    assert {name for name, mine in found.items() if mine} == added_to
    assert all(len(mine) in (0, 3) for mine in found.values())
    assert {index for mine in found.values() for item in mine for index in _indices(item.make())} == {0, 1, 2}


def _indices(blob: Any) -> list[int]:
    return [item.index for item in blob.patches]
