"""What texts of AuthorizationPolicies mean: identities in trust domains, principals of tokens, paths."""

import re

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from marline.compile.authorization_matchers import (
    TrustDomains,
    path_matcher,
    principal_matcher,
    text_matcher,
    token_principal_matchers,
)

RENAMED = TrustDomains("new.example", ("old.example",))


def fits(matcher: object, text: str) -> bool:
    """As Envoy's StringMatcher does."""
    ((how, value),) = json_format.MessageToDict(matcher).items()
    if how == "safeRegex":
        return re.fullmatch(value["regex"], text) is not None
    tests = {"exact": text.__eq__, "prefix": text.startswith, "suffix": text.endswith}
    return tests[how](value)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("new.example/ns/a/sa/b", ["new.example/ns/a/sa/b", "old.example/ns/a/sa/b"]),
        ("old.example/ns/a/*", ["new.example/ns/a/*", "old.example/ns/a/*"]),
        ("cluster.local/ns/a/sa/b", ["new.example/ns/a/sa/b", "old.example/ns/a/sa/b"]),
        ("other.example/ns/a/sa/b", ["other.example/ns/a/sa/b"]),
        ("*/ns/a/sa/b", ["*/ns/a/sa/b"]),
        ("*d.example/ns/a/sa/b", ["*d.example/ns/a/sa/b", "new.example/ns/a/sa/b"]),
        ("*", ["*"]),
    ],
)
def test_a_principal_is_meant_in_each_name_of_the_trust_domain(written: str, meant: list[str]) -> None:
    assert sorted(RENAMED.principals(written)) == sorted(meant)


def test_namespaces_and_service_accounts_are_those_of_the_own_trust_domain() -> None:
    for matcher in (
        RENAMED.namespace("a*"),
        RENAMED.service_account("b", "a1"),
        RENAMED.service_account("a1/b", "x"),
    ):
        assert fits(matcher, "spiffe://new.example/ns/a1/sa/b")
        assert fits(matcher, "spiffe://old.example/ns/a1/sa/b")
        for other in (
            "spiffe://partner.example/ns/a1/sa/b", "spiffe://newxexample/ns/a1/sa/b",
            "spiffe://partner.example/new.example/ns/a1/sa/b", "spiffe://new.example/ns/x/sa/b", "",
        ):  # fmt: skip
            assert not fits(matcher, other), other
    assert not fits(RENAMED.service_account("b", "a1"), "spiffe://new.example/ns/a1/sa/bc")


@given(st.text("ab*/.", min_size=1, max_size=5), st.text("ab*/.", max_size=6))
def test_only_a_star_at_either_end_stands_for_anything(pattern: str, text: str) -> None:
    if pattern == "*":
        expected = text != ""
    elif pattern.startswith("*"):
        expected = text.endswith(pattern[1:])
    else:
        expected = text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern
    assert fits(text_matcher(pattern), text) is expected
    identity = principal_matcher(pattern)
    assert not fits(identity, text), "what is no SPIFFE ID is no principal"
    assert fits(identity, f"spiffe://{text}") is expected


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("/a/{*}/c", "/a/b*|c/c", True), ("/a/{*}/c", "/a//c", False), ("/a/{*}/c", "/a/b/b/c", False),
        ("/a/{**}", "/a/", True), ("/a/{**}", "/a/b/c", True), ("/a/{**}", "/a", False),
        ("/{*}.b/c", "/x.b/c", False), ("/a.b/{*}", "/axb/c", False),
    ],
)  # fmt: skip
def test_operators_of_templates_stand_for_segments(template: str, path: str, expected: bool) -> None:
    assert fits(path_matcher(template).path, path) is expected


@pytest.mark.parametrize(
    ("pattern", "issuer", "subject", "expected"),
    [
        ("i/s", "i", "s", True), ("i/s", "i", "sx", False), ("a/b/s", "a/b", "s", True),
        ("a/b/s", "a", "b/s", False), ("a/b/*", "a/b", "anybody", True), ("a/b/*", "a/b/c", "s", False),
        ("https://i*", "https://ids", "s", True), ("*/s", "any", "s", True), ("*", "i", "s", True),
        ("*s", "i", "ss", True), ("i", "i", "", False), ("i", "i", "s", False),
    ],
)  # fmt: skip
def test_of_the_principal_of_a_token_the_last_slash_is_between_both(
    pattern: str, issuer: str, subject: str, expected: bool
) -> None:
    found = [
        all(
            fits(matcher.value.or_match.value_matchers[0].string_match, text)
            for matcher, text in zip(claims, (issuer, subject), strict=True)
        )
        for claims in token_principal_matchers(pattern)
    ]
    assert any(found) is expected
