"""Envoy's bootstrap: what it says of the proxy, where it asks, and what it must not open."""

import json
from typing import Any

from marline.mesh.model import Capture, Locality, Proxy, Role, Workload
from marline.mesh.proxy import from_metadata
from marline.node.bootstrap import bootstrap

PROXY = Proxy(
    node_id="sidecar~default~web~laptop",
    role=Role.SIDECAR,
    capture=Capture.EXPLICIT,
    workloads=(Workload("default", "web", locality=Locality("eu", "one", "a")),),
    bind_address="127.0.0.1",
)


def made() -> dict[str, Any]:
    return bootstrap(
        PROXY,
        xds_socket="../../xds.sock",
        sds_socket="sds.sock",
        rate_limit_socket="../../limits.sock",
        admin_socket="admin.sock",
        cluster="web.default",
    )


def test_the_node_is_the_proxy_that_the_control_plane_reads_back() -> None:
    node = made()["node"]
    assert (node["id"], node["cluster"]) == (PROXY.node_id, "web.default")
    assert node["locality"] == {"region": "eu", "zone": "one", "sub_zone": "a"}
    assert from_metadata(node["id"], json.loads(json.dumps(node["metadata"]))) == PROXY


def test_the_admin_interface_is_a_socket_of_its_owner_and_nothing_listens_on_tcp() -> None:
    config = made()
    assert config["admin"] == {"address": {"pipe": {"path": "admin.sock", "mode": 0o600}}}
    assert "socket_address" not in json.dumps(config)


def test_configuration_comes_by_delta_ads_and_is_waited_for_without_limit() -> None:
    dynamic = made()["dynamic_resources"]
    assert dynamic["ads_config"]["api_type"] == "DELTA_GRPC"
    for source in ("cds_config", "lds_config"):
        assert dynamic[source] == {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}


def test_its_servers_are_sockets_relative_to_its_directory() -> None:
    clusters = made()["static_resources"]["clusters"]
    paths = {
        cluster["name"]: endpoint["endpoint"]["address"]["pipe"]["path"]
        for cluster in clusters
        for endpoint in cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    }
    assert paths == {
        "xds-grpc": "../../xds.sock",
        "sds-grpc": "sds.sock",
        "ratelimit-grpc": "../../limits.sock",
    }


def test_connections_are_limited() -> None:
    (monitor,) = made()["overload_manager"]["resource_monitors"]
    assert monitor["typed_config"]["max_active_downstream_connections"] == 100_000
