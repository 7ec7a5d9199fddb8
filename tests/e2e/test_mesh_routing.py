"""Rules between workloads of a running mesh, in both capture modes."""

from collections.abc import Iterator

import pytest
from running_mesh import ECHO, ECHO_SUBSETS, MODES, Caller, Mesh, eventually, running_mesh

URL = "{ECHO_URL}/"


@pytest.fixture(scope="module", params=MODES)
def mesh(request: pytest.FixtureRequest) -> Iterator[Mesh]:
    with running_mesh(request.param, ECHO) as mesh:
        yield mesh


@pytest.fixture
def client(mesh: Mesh) -> Iterator[Caller]:
    mesh.apply(ECHO_SUBSETS)
    yield mesh.caller("client")
    for name in mesh.marline("get", "virtualservices", "-o", "name").split():
        mesh.delete("virtualservice", name.rpartition("/")[2])


def rules(body: str) -> str:
    head = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: echo}\n"
    return f"{head}spec:\n  hosts: [echo]\n{body}\n"


def to(subset: str) -> str:
    return f"route: [{{destination: {{host: echo, subset: {subset}}}}}]"


def test_without_rules_all_versions_answer(client: Caller) -> None:
    assert set(client.versions(URL, count=40)) == {"v1", "v2"}


def test_all_traffic_goes_to_one_subset(mesh: Mesh, client: Caller) -> None:
    mesh.apply(rules(f"  http: [{{{to('v2')}}}]"))
    assert client.versions(URL, count=20) == {"v2": 20}


def test_headers_decide_and_are_changed(mesh: Mesh, client: Caller) -> None:
    mesh.apply(
        rules(
            f"  http: [{{match: [{{headers: {{user: {{regex: 'j.*n'}}}}, uri: {{prefix: /a/}}}}],"
            f" rewrite: {{uri: /b/}}, headers: {{request: {{set: {{x-seen: by-mesh}}}}}}, {to('v2')}}},"
            f" {{{to('v1')}}}]"
        )
    )
    (found,) = client.fetch("{ECHO_URL}/a/c", headers={"user": "jason"})
    assert (found["said"]["version"], found["said"]["path"]) == ("v2", "/b/c")
    assert found["said"]["headers"]["x-seen"] == "by-mesh"
    assert client.versions("{ECHO_URL}/a/c", count=5) == {"v1": 5}


def test_connections_of_tcp_services_shift_by_weight(mesh: Mesh, client: Caller) -> None:
    def shares(v1: int, v2: int) -> str:
        route = ", ".join(
            f"{{destination: {{host: echo, subset: {name}}}, weight: {weight}}}"
            for name, weight in (("v1", v1), ("v2", v2))
        )
        return rules(f"  tcp: [{{match: [{{port: 9000}}], route: [{route}]}}]")

    def answered() -> list[str]:
        return client.lines("{LINES_HOST}", "{LINES_PORT}", connections=60)

    mesh.apply(shares(100, 0))
    # The listener that had the old rule takes connections until its successor listens.
    eventually(lambda: all(line.startswith("v1 line") for line in answered()), "all connections go to v1")
    mesh.apply(shares(50, 50))
    eventually(lambda: {line[:2] for line in answered()} == {"v1", "v2"}, "connections go to both")
    v2 = sum(line.startswith("v2") for line in client.lines("{LINES_HOST}", "{LINES_PORT}", connections=200))
    assert 60 <= v2 <= 140


def test_requests_are_mirrored(mesh: Mesh, client: Caller) -> None:
    mesh.apply(
        rules(
            f"  http: [{{match: [{{headers: {{to: {{exact: v2}}}}}}], {to('v2')}}},"
            f" {{{to('v1')}, mirror: {{host: echo, subset: v2}}, mirrorPercentage: {{value: 100}}}}]"
        )
    )

    def seen_by_v2() -> list[str]:
        (found,) = client.fetch("{ECHO_URL}/seen", headers={"to": "v2"})
        return [item for item in found["said"]["seen"] if item.startswith("/mirrored")]

    assert client.versions("{ECHO_URL}/mirrored", count=10) == {"v1": 10}
    eventually(lambda: len(seen_by_v2()) == 10, "v2 got a copy of each request")


def test_failed_calls_are_retried_at_another_endpoint(mesh: Mesh, client: Caller) -> None:
    """Istio's default: two retries where the server was not reached."""
    client.fetch("{ECHO_URL}/seen")
    assert all(item["status"] == 503 for item in client.fetch("{ECHO_URL}/always?status=503"))
    (before,) = client.fetch("{ECHO_URL}/?status=418")
    assert before["status"] == 418


def test_a_timeout_and_a_delay(mesh: Mesh, client: Caller) -> None:
    mesh.apply(rules(f"  http: [{{{to('v1')}, timeout: 300ms}}]"))
    (late,) = client.fetch("{ECHO_URL}/?delay=3")
    assert (late["status"], late["said"]) == (504, "upstream request timeout")
    mesh.apply(
        rules(f"  http: [{{{to('v1')}, fault: {{delay: {{percentage: {{value: 100}}, fixedDelay: 1s}}}}}}]")
    )
    (slow,) = client.fetch(URL)
    assert slow["status"] == 200
    assert slow["seconds"] >= 0.9


def test_a_circuit_breaker_trips_under_load(mesh: Mesh, client: Caller) -> None:
    """istio.io, "Circuit Breaking": one connection, one pending request, three callers at once."""
    mesh.apply(
        ECHO_SUBSETS.rstrip()
        + """
  trafficPolicy:
    connectionPool:
      tcp: {maxConnections: 1}
      http: {http1MaxPendingRequests: 1, maxRequestsPerConnection: 1}
"""
    )
    mesh.apply(rules(f"  http: [{{{to('v1')}, retries: {{attempts: 0}}}}]"))
    assert all(item["status"] == 200 for item in client.fetch(URL, count=5))
    found = client.fetch("{ECHO_URL}/?delay=0.05", count=40, concurrency=8)
    refused = [item for item in found if item["status"] == 503]
    assert refused
    assert all("overflow" in item["said"] for item in refused)
    assert any(item["status"] == 200 for item in found)


def test_web_sockets_pass(client: Caller) -> None:
    assert client.websocket("{ECHO_URL}/ws") in ("v1:hello", "v2:hello")
