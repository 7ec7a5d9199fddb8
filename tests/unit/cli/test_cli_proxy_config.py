"""What an Envoy says of itself, as `marline proxy-config` shows it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest
from config_dumps import HOST, dump_of, host_status, http_filter, listener, secrets_dump, tcp_filter

from marline.cli import envoy_secrets
from marline.cli.envoy_clusters import cluster_rows
from marline.cli.envoy_dump import ClusterName, address_of, parse_dump
from marline.cli.envoy_endpoints import endpoint_rows
from marline.cli.envoy_listeners import listener_rows
from marline.cli.envoy_routes import match_of, route_rows, target_of
from marline.cli.output import table, to_json


def test_clusters_are_shown_by_service_port_and_subset() -> None:
    clusters = [
        {"cluster": {"name": f"outbound|9080|v2|{HOST}", "type": "EDS", "lb_policy": "LEAST_REQUEST"}},
        {"cluster": {"name": f"outbound|9080||{HOST}", "type": "EDS"}},
    ]
    inbound = {
        "name": "inbound|9080||",
        "type": "STATIC",
        "metadata": {"filter_metadata": {"marline": {"service": HOST}}},
    }
    dump = parse_dump(
        dump_of(
            Clusters={"dynamic_active_clusters": clusters, "static_clusters": [{"cluster": inbound}]},
        )
    )
    rows = list(cluster_rows(dump.clusters()))
    assert [(row.host, row.port, row.subset, row.direction) for row in rows] == [
        (HOST, "9080", "-", "inbound"),
        (HOST, "9080", "-", "outbound"),
        (HOST, "9080", "v2", "outbound"),
    ]
    assert [row.policy for row in rows if row.fits("reviews", 9080, "v2", "")] == ["LEAST_REQUEST"]
    assert not any(row.fits("ratings", None, "", "") for row in rows)


def test_listeners_have_a_row_for_each_kind_of_connection() -> None:
    http = {
        "filters": [http_filter(rds={"route_config_name": "9080"})],
        "filter_chain_match": {"transport_protocol": "raw_buffer", "application_protocols": ["h2c"]},
    }
    tcp = {"filters": [tcp_filter(cluster="PassthroughCluster")]}
    split = {
        "filters": [tcp_filter(weighted_clusters={"clusters": [{"name": "a", "weight": 9}, {"name": "b"}]})],
        "filter_chain_match": {"server_names": ["a.example"], "destination_port": 443},
    }
    dump = parse_dump(dump_of(Listeners={"dynamic_listeners": [listener("all", 9080, http, tcp, split)]}))
    rows = list(listener_rows(dump.listeners()))
    assert [(row.match, row.destination) for row in rows] == [
        ("raw_buffer; ALPN h2c", "Route: 9080"),
        ("ALL", "Cluster: PassthroughCluster"),
        ("port 443; SNI a.example", "Clusters: a (9), b (0)"),
    ]
    assert all(row.fits("0.0.0.0", 9080, "outbound") for row in rows)  # noqa: S104
    assert not any(row.fits("", 80, "") for row in rows)


def test_a_listener_for_datagrams_says_where_they_may_go() -> None:
    def to(cluster: str) -> dict[str, Any]:
        return {"action": {"name": "route", "typed_config": {"cluster": cluster}}}

    matcher = {"matcher_list": {"matchers": [{"on_match": to("a")}]}, "on_no_match": to("b")}
    made = listener("udp", 53)
    made["active_state"]["listener"] |= {
        "udp_listener_config": {},
        "listener_filters": [{"name": "udp_proxy", "typed_config": {"matcher": matcher}}],
    }
    (row,) = listener_rows(parse_dump(dump_of(Listeners={"dynamic_listeners": [made]})).listeners())
    assert (row.match, row.destination) == ("UDP", "Clusters: a, b")


def test_a_listener_that_is_still_warming_is_shown() -> None:
    warming = {"name": "new", "warming_state": listener("new", 80)["active_state"]}
    dump = parse_dump(dump_of(Listeners={"dynamic_listeners": [warming, {"name": "error only"}]}))
    assert [row.name for row in listener_rows(dump.listeners())] == ["new"]


def test_routes_name_the_resource_that_they_come_from() -> None:
    path = "/apis/networking.istio.io/v1/namespaces/default/virtual-service/reviews"
    route = {
        "match": {"prefix": "/", "headers": [{"name": "end-user", "string_match": {"exact": "jason"}}]},
        "route": {"cluster": f"outbound|9080|v2|{HOST}"},
        "metadata": {"filter_metadata": {"istio": {"config": path}}},
    }
    config = {
        "name": "9080",
        "virtual_hosts": [
            {"name": f"{HOST}:9080", "domains": [HOST, "reviews", "reviews.default"], "routes": [route]}
        ],
    }
    dump = parse_dump(dump_of(Routes={"dynamic_route_configs": [{"route_config": config}]}))
    (row,) = route_rows(dump.route_configs())
    assert row.resource == "virtual-service/reviews.default"
    assert row.match == "/*, header end-user = jason"
    assert row.fits("9080", "reviews.default")
    assert not row.fits("80", "")


@pytest.mark.parametrize(
    ("match", "said"),
    [
        ({"path": "/login"}, "= /login"),
        ({"safe_regex": {"regex": "/a.*"}}, "~ /a.*"),
        ({"path_separated_prefix": "/api"}, "/api/*"),
        ({"connect_matcher": {}}, "CONNECT"),
        ({"prefix": "/", "headers": [{"name": "x", "present_match": False}]}, "/*, no header x"),
        (
            {
                "prefix": "/",
                "query_parameters": [{"name": "q", "string_match": {"prefix": "a"}, "invert_match": True}],
            },
            "/*, not query q ^ a",
        ),
    ],
)
def test_matches_are_short(match: dict[str, Any], said: str) -> None:
    assert match_of(match) == said


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ({"redirect": {"path_redirect": "/new"}}, "redirect /new"),
        ({"direct_response": {"status": 503}}, "answer 503"),
        ({"route": {"weighted_clusters": {"clusters": [{"name": "a", "weight": 9}]}}}, "a (9)"),
    ],
)
def test_targets_say_where_a_request_goes(route: dict[str, Any], said: str) -> None:
    assert target_of(route) == said


def test_endpoints_show_their_health_and_their_errors() -> None:
    name = f"outbound|9080|v1|{HOST}"
    hosts = [
        host_status("10.0.0.1", 9080, requests=7, errors=2),
        host_status("10.0.0.2", 9080, failed_outlier_check=True),
    ]
    rows = list(
        endpoint_rows({"cluster_statuses": [{"name": name, "host_statuses": hosts}, {"name": "empty"}]})
    )
    assert [(row.endpoint, row.requests, row.errors) for row in rows] == [
        ("10.0.0.1:9080", 7, 2),
        ("10.0.0.2:9080", 0, 0),
    ]
    assert rows[1].notes == "ejected as outlier"
    assert all(row.fits("", "reviews", 9080, "v1", "healthy") for row in rows)
    assert not any(row.fits("", "", None, "v2", "") for row in rows)


def test_secrets_are_shown_without_their_keys() -> None:
    identity = "spiffe://cluster.local/ns/default/sa/reviews"
    text, key = secrets_dump(identity)
    dump = parse_dump(text)
    rows = list(envoy_secrets.secret_rows(dump.secrets()))
    assert [(row.name, row.type, row.state, row.names) for row in rows] == [
        ("default", "Cert Chain", "ACTIVE", identity),
        ("ROOTCA", "CA", "WARMING", identity),
    ]
    now = datetime.now(UTC)
    assert "for 4h" in click.unstyle(table(rows, envoy_secrets.secret_columns(now)))
    assert "no" in click.unstyle(table(rows, envoy_secrets.secret_columns(now + timedelta(days=1))))
    assert key in text
    assert key not in repr(dump) + to_json(rows)


def test_addresses_of_all_kinds_are_written_as_one_writes_them() -> None:
    assert address_of({"pipe": {"path": "/run/x.sock"}}) == "unix:///run/x.sock"
    assert address_of({"socket_address": {"address": "::1", "port_value": 80}}) == "[::1]:80"


def test_other_names_of_clusters_are_kept_whole() -> None:
    assert ClusterName.parse("xds-grpc") == ClusterName(host="xds-grpc")
