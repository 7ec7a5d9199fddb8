"""What `marline diff` foretells is what then changes in a running mesh."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cli_process import Ended, marline
from running_mesh import ECHO, ECHO_SUBSETS, MODES, Mesh, running_mesh


def rules(v1: int, v2: int) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: echo}}
spec:
  hosts: [echo]
  http:
  - route:
    - {{destination: {{host: echo, subset: v1}}, weight: {v1}}}
    - {{destination: {{host: echo, subset: v2}}, weight: {v2}}}
"""


@pytest.fixture(scope="module", params=MODES)
def mesh(request: pytest.FixtureRequest) -> Iterator[Mesh]:
    with running_mesh(request.param, ECHO) as mesh:
        mesh.apply(ECHO_SUBSETS)
        mesh.apply(rules(90, 10))
        yield mesh


def differ(mesh: Mesh, text: str, *arguments: str) -> Ended:
    files = ("-f", "-") if text else ()
    return marline(mesh.home, "diff", *files, *arguments, text=text)


def configured(mesh: Mesh, service: str, version: str = "") -> dict[tuple[str, str], Any]:
    """What an Envoy has, by type and name."""
    found: dict[tuple[str, str], Any] = {}
    for section in json.loads(mesh.admin(service, "/config_dump?include_eds", version))["configs"]:
        for item in section.get("dynamic_active_clusters", ()):
            found["Cluster", item["cluster"]["name"]] = item["cluster"]
        for item in section.get("dynamic_listeners", ()):
            found["Listener", item["name"]] = item.get("active_state", {}).get("listener")
        for item in section.get("dynamic_route_configs", ()):
            for host in item["route_config"].get("virtual_hosts", ()):
                found["VirtualHost", host["name"]] = host
        for item in section.get("dynamic_endpoint_configs", ()):
            assignment = item["endpoint_config"]
            found["ClusterLoadAssignment", assignment["cluster_name"]] = assignment.get("endpoints")
    return found


def test_nothing_differs_from_what_is_there(mesh: Mesh) -> None:
    found = differ(mesh, rules(90, 10))
    assert (found.code, found.out) == (0, "")


def test_shares_that_would_move_are_told_and_then_move(mesh: Mesh) -> None:
    found = differ(mesh, rules(80, 20), "-o", "json")
    assert found.code == 1
    forecast = found.json()["forecast"]
    (moved,) = [item for item in forecast["consequences"] if item["kind"] == "moved"]
    assert "subset v1 90 % → 80 %" in moved["text"]
    assert "subset v2 10 % → 20 %" in moved["text"]
    told = {
        (item["type"], item["name"])
        for change in forecast["proxies"]
        for item in change["resources"]
        if any(name.startswith("default/client") for name in change["proxies"])
    }
    before = configured(mesh, "client")
    assert marline(mesh.home, "get", "virtualservice", "echo", "-o", "yaml").out.count("weight: 90") == 1
    mesh.apply(rules(80, 20))
    try:
        after = configured(mesh, "client")
        differing = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        # Explicit capture has a table for the declared upstream too, whose host has a name of its own.
        assert differing == {(kind, name) for kind, name in told if kind != "RouteConfiguration"} | {
            key for key in differing if key[1] == "echo.default.svc.cluster.local:9080"
        }
        assert differing
    finally:
        mesh.apply(rules(90, 10))


def test_a_policy_that_locks_callers_out_is_told_before(mesh: Mesh) -> None:
    plain = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: plain}
spec: {host: echo, trafficPolicy: {tls: {mode: DISABLE}}}
"""
    found = differ(mesh, plain)
    assert found.code == 1
    assert "loses access" in found.out
    assert "mTLS is demanded there" in found.out
    mesh.apply(plain)
    try:
        (answer,) = mesh.caller("client").fetch("{ECHO_URL}/")
        assert answer["status"] == 503
        back = differ(mesh, "", "--delete", "destinationrule/plain")
        assert "gains access" in back.out
    finally:
        mesh.delete("destinationrule", "plain")


def test_errors_are_no_differences(mesh: Mesh) -> None:
    assert differ(mesh, "", "--delete", "virtualservice/missing").code == 4
    wrong = differ(mesh, rules(90, 10).replace("hosts:", "host:"))
    assert wrong.code == 5
    assert "did you mean" in wrong.err
