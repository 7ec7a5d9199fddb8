"""Hosts of routes and listeners: what two names have in common."""

import pytest

from marline.compile.gateway_hosts import common_host, namespace_allows, split_server_host


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        ("*", "a.example.com", "a.example.com"),
        ("*", "*.example.com", "*.example.com"),
        ("*.example.com", "a.example.com", "a.example.com"),
        ("*.example.com", "a.b.example.com", "a.b.example.com"),
        ("*.example.com", "*.b.example.com", "*.b.example.com"),
        ("*.example.com", "example.com", None),
        ("*.example.com", "badexample.com", None),
        ("a.example.com", "b.example.com", None),
        ("A.Example.com", "a.example.COM", "a.example.com"),
        ("*", "*", "*"),
    ],
)
def test_the_more_specific_of_two_overlapping_names_is_common(
    one: str, other: str, common: str | None
) -> None:
    assert common_host(one, other) == common
    assert common_host(other, one) == common


def test_a_servers_host_may_name_the_namespace_of_the_routes() -> None:
    assert split_server_host("prod/*.example.com") == ("prod", "*.example.com")
    assert split_server_host("*.example.com") == ("*", "*.example.com")
    assert namespace_allows("*", "edge", "any")
    assert namespace_allows(".", "edge", "edge") and not namespace_allows(".", "edge", "prod")
    assert namespace_allows("prod", "edge", "prod") and not namespace_allows("prod", "edge", "edge")
