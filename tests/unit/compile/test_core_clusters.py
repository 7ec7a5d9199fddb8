"""Outbound clusters: Istio's defaults, what DestinationRules change, whom they expect."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from core_meshes import resources
from google.protobuf import json_format

from marline.compile.catalog import compile_unit
from marline.compile.resource import CLUSTER
from marline.compile.units import EndpointsUnit, HostUnit
from marline.mesh.model import Capture, ChangeSet, MeshSettings, Proxy, Role, Workload
from marline.mesh.snapshot import MeshSnapshot, advance, empty

HOST = "reviews.default.svc.cluster.local"
MESH = """
{apiVersion: v1, kind: Service, metadata: {name: reviews, namespace: default},
 spec: {clusterIP: 10.96.0.1, selector: {app: reviews},
  ports: [{name: http, port: 9080}, {name: tcp, port: 9000}]}}
---
{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: reviews-1, namespace: default},
 spec: {address: 10.0.0.1, serviceAccount: reviews,
  labels: {app: reviews, version: v1, security.istio.io/tlsMode: istio}}}
"""
PROXY = Proxy("p", Role.SIDECAR, Capture.TRANSPARENT, (Workload("default", "client"),))
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def snapshot(policy: str = "{}", more: str = "") -> MeshSnapshot:
    rule = f"""
---
{{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {{name: r, namespace: default}},
 spec: {{host: reviews, trafficPolicy: {policy}}}}}
"""
    return advance(empty(MeshSettings()), ChangeSet(resources(MESH + rule + more), (), "1"))[0]


def clusters(mesh: MeshSnapshot, host: str = HOST, proxy: Proxy = PROXY) -> dict[str, Any]:
    return {
        recipe.name: json_format.MessageToDict(recipe.build(*recipe.inputs))
        for recipe in compile_unit(mesh, proxy, HostUnit(host))
        if recipe.type_url == CLUSTER
    }


def cluster(policy: str = "{}", port: int = 9080) -> dict[str, Any]:
    found: dict[str, Any] = clusters(snapshot(policy))[f"outbound|{port}||{HOST}"]
    return found


def test_a_cluster_without_any_rule_has_istios_defaults() -> None:
    made = cluster()
    (limits,) = made["circuitBreakers"]["thresholds"]
    assert made["connectTimeout"] == "10s"
    assert made["lbPolicy"] == "LEAST_REQUEST"
    assert {
        limits[name] for name in ("maxConnections", "maxPendingRequests", "maxRequests", "maxRetries")
    } == {2**32 - 1}
    assert made["edsClusterConfig"]["serviceName"] == made["name"]
    assert made["typedExtensionProtocolOptions"][OPTIONS]["explicitHttpConfig"] == {"httpProtocolOptions": {}}
    assert "outlierDetection" not in made


def test_a_tcp_port_has_no_http_options() -> None:
    assert "typedExtensionProtocolOptions" not in cluster(port=9000)


@pytest.mark.parametrize(
    ("balancing", "expected"),
    [
        ("{simple: ROUND_ROBIN}", {}),
        ("{simple: LEAST_CONN}", {"lbPolicy": "LEAST_REQUEST"}),
        ("{simple: RANDOM}", {"lbPolicy": "RANDOM"}),
        ("{simple: PASSTHROUGH}", {"lbPolicy": "CLUSTER_PROVIDED", "type": "ORIGINAL_DST"}),
        ("{consistentHash: {useSourceIp: true}}", {"lbPolicy": "RING_HASH"}),
        (
            "{consistentHash: {httpHeaderName: x, ringHash: {minimumRingSize: 7}}}",
            {"lbPolicy": "RING_HASH", "ringHashLbConfig": {"minimumRingSize": "7"}},
        ),
        (
            "{consistentHash: {httpHeaderName: x, maglev: {tableSize: 11}}}",
            {"lbPolicy": "MAGLEV", "maglevLbConfig": {"tableSize": "11"}},
        ),
    ],
)
def test_load_balancing_is_as_the_rule_says(balancing: str, expected: dict[str, Any]) -> None:
    made = cluster(f"{{loadBalancer: {balancing}}}")
    assert made == {**made, **expected}
    assert made.get("lbPolicy", "ROUND_ROBIN") == expected.get("lbPolicy", "ROUND_ROBIN")


def test_passthrough_means_nothing_where_the_original_address_is_not_known() -> None:
    mesh = snapshot("{loadBalancer: {simple: PASSTHROUGH}}")
    explicit = replace(PROXY, capture=Capture.EXPLICIT)
    assert clusters(mesh, proxy=explicit)[f"outbound|9080||{HOST}"]["lbPolicy"] == "LEAST_REQUEST"


def test_settings_for_a_port_replace_all_others() -> None:
    policy = """{loadBalancer: {simple: RANDOM}, connectionPool: {tcp: {maxConnections: 5}},
      portLevelSettings: [{port: {number: 9080}, connectionPool: {http: {http2MaxRequests: 3}}}]}"""
    (limits,) = cluster(policy)["circuitBreakers"]["thresholds"]
    assert cluster(policy)["lbPolicy"] == "LEAST_REQUEST"
    assert (limits["maxConnections"], limits["maxRequests"]) == (2**32 - 1, 3)
    assert cluster(policy, 9000)["lbPolicy"] == "RANDOM"


def test_what_a_port_cannot_say_holds_for_all_ports() -> None:
    policy = """{retryBudget: {percent: 50}, proxyProtocol: {version: V2},
      portLevelSettings: [{port: {number: 9080}, loadBalancer: {simple: RANDOM}}]}"""
    made = cluster(policy)
    (limits,) = made["circuitBreakers"]["thresholds"]
    assert limits["retryBudget"] == {"budgetPercent": {"value": 50.0}}
    for match, inner in zip(made["transportSocketMatches"], ("tls", "raw_buffer"), strict=True):
        wrapped = match["transportSocket"]["typedConfig"]
        assert wrapped["config"] == {"version": "V2"}
        assert wrapped["transportSocket"]["name"] == f"envoy.transport_sockets.{inner}"


def test_a_subset_overrides_field_by_field() -> None:
    more = """
---
{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: a, namespace: default},
 spec: {host: reviews, subsets: [{name: v1, labels: {version: v1},
  trafficPolicy: {loadBalancer: {simple: RANDOM}}}]}}
"""
    made = clusters(snapshot("{connectionPool: {tcp: {connectTimeout: 2s}}}", more))
    v1 = made[f"outbound|9080|v1|{HOST}"]
    assert (v1["lbPolicy"], v1["connectTimeout"]) == ("RANDOM", "2s")


def test_outlier_detection_has_istios_switches() -> None:
    made = cluster(
        "{outlierDetection: {consecutive5xxErrors: 0, consecutiveGatewayErrors: 4, baseEjectionTime: 600s}}"
    )
    assert made["outlierDetection"] == {
        "enforcingConsecutive5xx": 0,
        "consecutiveGatewayFailure": 4,
        "enforcingConsecutiveGatewayFailure": 100,
        "enforcingSuccessRate": 0,
        "baseEjectionTime": "600s",
        "maxEjectionTime": "600s",
    }


def expected_names(made: dict[str, Any]) -> list[str]:
    return re.findall(r'"exact": "([^"]*)"', json.dumps(made))


def test_mtls_is_chosen_for_each_endpoint_and_expects_the_services_identity() -> None:
    made = cluster()
    assert [item["name"] for item in made["transportSocketMatches"]] == ["tlsMode-istio", "tlsMode-disabled"]
    assert expected_names(made) == ["spiffe://cluster.local/ns/default/sa/reviews"]


def test_a_service_without_any_workload_expects_nobody() -> None:
    lonely = MESH.split("---")[0]
    mesh, _ = advance(empty(MeshSettings()), ChangeSet(resources(lonely), (), "1"))
    assert expected_names(clusters(mesh)[f"outbound|9080||{HOST}"]) == ["spiffe://invalid"]


@pytest.mark.parametrize(
    ("tls", "sockets"),
    [
        ("{mode: DISABLE}", (False, False)),
        ("{mode: ISTIO_MUTUAL}", (True, False)),
        ("{mode: SIMPLE}", (True, False)),
        ("{mode: MUTUAL, clientCertificate: /c, privateKey: /k}", (True, False)),
    ],
)
def test_a_rule_for_tls_replaces_automatic_mtls(tls: str, sockets: tuple[bool, bool]) -> None:
    made = cluster(f"{{tls: {tls}}}")
    assert ("transportSocket" in made, "transportSocketMatches" in made) == sockets


def test_endpoints_of_a_policy_without_mtls_are_called_in_plain_text() -> None:
    policy = """
---
{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: p, namespace: default},
 spec: {mtls: {mode: DISABLE}}}
"""
    for more, expected in (("", True), (policy, False)):
        recipes = compile_unit(snapshot(more=more), PROXY, EndpointsUnit(HOST))
        text = str(json_format.MessageToDict(recipes[0].build(*recipes[0].inputs)))
        assert ("tlsMode" in text) is expected
