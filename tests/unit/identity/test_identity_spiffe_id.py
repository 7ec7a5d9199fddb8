"""Which texts are SPIFFE IDs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marline.identity.errors import InvalidSpiffeId
from marline.identity.spiffe import SpiffeId, parse, trust_domain_id, workload_id

DOMAINS = st.from_regex(r"[a-z0-9._-]{1,60}", fullmatch=True)
SEGMENTS = st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True).filter(lambda text: text not in (".", ".."))


@given(DOMAINS, st.lists(SEGMENTS, max_size=6))
def test_a_valid_id_is_parsed_and_written_the_same(domain: str, segments: list[str]) -> None:
    text = f"spiffe://{domain}" + "".join(f"/{segment}" for segment in segments)
    assert str(parse(text)) == text


@given(st.text(max_size=60))
def test_any_text_is_parsed_to_itself_or_refused(text: str) -> None:
    try:
        assert str(parse("spiffe://" + text)) == "spiffe://" + text
    except InvalidSpiffeId as error:
        assert error.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "begin with"),
        ("https://cluster.local/ns/a", "begin with"),
        ("SPIFFE://cluster.local/ns/a", "begin with"),
        ("spiffe:///ns/a", "trust domain is empty"),
        ("spiffe://", "trust domain is empty"),
        ("spiffe://Cluster.local/a", "lower-case"),
        ("spiffe://user@cluster.local/a", "lower-case"),
        ("spiffe://cluster.local:80/a", "lower-case"),
        ("spiffe://" + "a" * 256 + "/a", "longer than 255"),
        ("spiffe://cluster.local/", "ends with a slash"),
        ("spiffe://cluster.local/a/", "ends with a slash"),
        ("spiffe://cluster.local//a", "empty segment"),
        ("spiffe://cluster.local/a/../b", "'..'"),
        ("spiffe://cluster.local/./b", "'.'"),
        ("spiffe://cluster.local/a?b=c", "path segment"),
        ("spiffe://cluster.local/a#b", "path segment"),
        ("spiffe://cluster.local/a%20b", "path segment"),
        ("spiffe://cluster.local/ä", "path segment"),
        ("spiffe://cluster.local/a\n", "path segment"),
        ("spiffe://cluster.local/" + "a" * 2040, "longer than 2048"),
    ],
)
def test_a_fault_is_named(text: str, reason: str) -> None:
    with pytest.raises(InvalidSpiffeId, match="is not a SPIFFE ID") as refused:
        parse(text)
    assert reason in refused.value.reason


def test_a_workloads_id_says_namespace_and_service_account() -> None:
    made = workload_id("cluster.local", "default", "reviews")
    assert str(made) == "spiffe://cluster.local/ns/default/sa/reviews"
    assert (made.namespace, made.service_account) == ("default", "reviews")


@pytest.mark.parametrize("path", ["", "/a", "/ns/a/sa/b/c", "/sa/a/ns/b"])
def test_another_path_says_neither(path: str) -> None:
    other = SpiffeId("cluster.local", path)
    assert (other.namespace, other.service_account) == ("", "")


@pytest.mark.parametrize(
    ("namespace", "account"), [("", "a"), ("a", ""), ("a/b", "c"), ("a", "b/c"), ("..", "a")]
)
def test_names_cannot_smuggle_segments(namespace: str, account: str) -> None:
    with pytest.raises(InvalidSpiffeId):
        workload_id("cluster.local", namespace, account)


def test_a_trust_domain_has_an_id_without_path() -> None:
    assert str(trust_domain_id("example.org")) == "spiffe://example.org"
