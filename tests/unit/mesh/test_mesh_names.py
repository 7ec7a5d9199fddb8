"""Names of services resolve as in Istio, wildcards from the most specific."""

import pytest
from mesh_resources import mesh, resource, service

from marline.mesh.hosts import host_matches, patterns_for
from marline.mesh.model import Protocol
from marline.mesh.protocol import select_protocol


@pytest.mark.parametrize(
    ("name", "namespace", "fqdn"),
    [
        ("reviews", "default", "reviews.default.svc.cluster.local"),
        ("reviews", "other", "reviews.other.svc.cluster.local"),
        ("Reviews.default", "other", "reviews.default.svc.cluster.local"),
        ("reviews.default.svc", "other", "reviews.default.svc.cluster.local"),
        ("reviews.default.svc.cluster.local", "other", "reviews.default.svc.cluster.local"),
        ("example.com", "default", "example.com"),
        ("api.example.com", "default", "api.example.com"),
        ("*.example.com", "default", "*.example.com"),
    ],
)
def test_a_name_in_a_rule_means_a_host(name: str, namespace: str, fqdn: str) -> None:
    assert mesh(service("reviews")).resolve_host(name, namespace) == fqdn


def test_two_labels_are_a_domain_when_a_service_entry_has_it() -> None:
    entry = resource("ServiceEntry", "x", hosts=["reviews.default"], ports=[{"number": 80, "name": "http"}])
    snapshot = mesh(service("reviews"), entry)
    assert snapshot.resolve_host("reviews.default", "default") == "reviews.default"


def test_patterns_go_from_the_most_specific_to_the_least() -> None:
    assert list(patterns_for("a.b.c")) == ["a.b.c", "*.b.c", "*.c", "*"]
    assert list(patterns_for("*.b.c")) == ["*.b.c", "*.c", "*"]


@pytest.mark.parametrize(
    ("pattern", "host", "covers"),
    [
        ("*", "a.b", True),
        ("*.b", "a.b", True),
        ("*.b", "b", False),
        ("*.b", "x.a.b", True),
        ("*.b", "ab", False),
        ("*.b", "*.a.b", True),
        ("a.b", "a.b", True),
        ("a.b", "*.b", False),
    ],
)
def test_a_wildcard_covers_whole_labels(pattern: str, host: str, covers: bool) -> None:
    assert host_matches(pattern, host) is covers


@pytest.mark.parametrize(
    ("name", "app_protocol", "protocol"),
    [
        ("http", None, Protocol.HTTP),
        ("http-web", None, Protocol.HTTP),
        ("http2-x", None, Protocol.HTTP2),
        ("grpc", None, Protocol.GRPC),
        ("grpc-web-x", None, Protocol.GRPC),
        ("tcp-db", None, Protocol.TCP),
        ("https", None, Protocol.HTTPS),
        ("TLS-x", None, Protocol.TLS),
        ("httpx", None, Protocol.AUTO),
        ("", None, Protocol.AUTO),
        ("web", "http", Protocol.HTTP),
        ("tcp", "kubernetes.io/h2c", Protocol.HTTP2),
        ("http", "example.com/own", Protocol.HTTP),
    ],
)
def test_a_port_says_its_protocol(name: str, app_protocol: str | None, protocol: Protocol) -> None:
    assert select_protocol(8000, name, app_protocol) is protocol


def test_a_port_on_which_the_server_speaks_first_is_never_detected() -> None:
    assert select_protocol(3306, "db") is Protocol.TCP
    assert select_protocol(53, "dns", None, "UDP") is Protocol.UDP
