"""The names by which a workload calls a service depend on where it is."""

from marline.api.resource import Ref
from marline.compile.routes_domains import domains, short_names
from marline.mesh.model import Port, Protocol, Service

REVIEWS = "reviews.default.svc.cluster.local"


def service(hostname: str = REVIEWS, headless: bool = False) -> Service:
    port = Port(9080, "http", Protocol.HTTP)
    return Service(
        hostname, "default", "reviews", (port,), Ref("", "Service", "default", "reviews"), headless=headless
    )


def test_the_shortest_name_is_known_in_the_services_own_namespace_only() -> None:
    assert short_names(REVIEWS, "default", "cluster.local") == (
        "reviews", "reviews.default", "reviews.default.svc",
    )  # fmt: skip
    assert short_names(REVIEWS, "other", "cluster.local") == ("reviews.default", "reviews.default.svc")


def test_hosts_outside_the_cluster_domain_have_no_short_names() -> None:
    assert short_names("api.example.com", "default", "cluster.local") == ()
    assert short_names("*.default.svc.cluster.local", "default", "cluster.local") == ()
    assert short_names("svc.cluster.local", "default", "cluster.local") == ()


def test_every_name_counts_with_and_without_port_behind_a_listener_of_that_port() -> None:
    assert domains(service(), ("reviews",), ("10.96.0.7",), 9080, bare=True) == (
        REVIEWS, f"{REVIEWS}:9080", "reviews", "reviews:9080", "10.96.0.7", "10.96.0.7:9080",
    )  # fmt: skip


def test_a_proxy_listener_tells_services_apart_by_port() -> None:
    assert domains(service(), ("reviews",), (), 9080, bare=False) == (f"{REVIEWS}:9080", "reviews:9080")


def test_ipv6_addresses_are_bracketed_and_blocks_are_no_names() -> None:
    found = domains(service("db.example"), (), ("fd00::1", "10.0.0.0/8"), 80, bare=True)
    assert found == ("db.example", "db.example:80", "[fd00::1]", "[fd00::1]:80")


def test_instances_of_a_headless_service_are_called_by_name() -> None:
    assert f"*.{REVIEWS}" in domains(service(headless=True), (), (), 9080, bare=True)
