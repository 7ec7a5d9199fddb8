"""Regular expressions, string matches, paths and conditions as Envoy reads them."""

import pytest
from envoy.config.route.v3 import route_components_pb2 as route_pb
from hypothesis import given, settings
from hypothesis import strategies as st

from marline.explain.conditions import asked_of, why_not
from marline.explain.covering import covers
from marline.explain.paths import normalized
from marline.explain.patterns import expression, replace_all
from marline.explain.request import CannotTell, Request
from marline.explain.virtual_hosts import host_for

SEGMENTS = st.sampled_from(["a", "ab", "A", ".", "..", "%61", "", "x y"])
PATHS = st.lists(SEGMENTS, max_size=4).map(lambda items: "/" + "/".join(items))


def match(text: str = "prefix", value: str = "/", **headers: str) -> route_pb.RouteMatch:
    made = route_pb.RouteMatch()
    if text == "safe_regex":
        made.safe_regex.regex = value
    else:
        setattr(made, text, value)
    for name, wanted in headers.items():
        made.headers.add(name=name).string_match.exact = wanted
    return made


@pytest.mark.parametrize(
    ("pattern", "substitution", "text", "made"),
    [
        (".*", "X", "abc", "X"),
        ("a*", "-", "baac", "-b-c-"),
        ("(a)(b)?", r"[\2\1\0]", "aab", "[aa][baab]"),
        (r"\\", r"\\\\", "a\\b", "a\\\\b"),
        ("z", "y", "abc", "abc"),
    ],
)
def test_replacements_are_those_of_re2(pattern: str, substitution: str, text: str, made: str) -> None:
    """RE2's `GlobalReplace` finds no empty match right after another match."""
    assert replace_all(pattern, substitution, text) == made


@pytest.mark.parametrize(
    "pattern", [r"\pL+", r"\C", "(?U)a+", "(?m)^a$", "a(?i)b", "(?=a)", "a++", r"(a)\1", "("]
)
def test_what_the_engines_may_read_differently_is_not_evaluated(pattern: str) -> None:
    with pytest.raises(CannotTell):
        expression(pattern)


def test_the_end_of_the_text_is_no_line_break() -> None:
    assert expression("a$").fullmatch("a\n") is None
    assert expression("[$]").fullmatch("$")
    assert expression(r"\$").fullmatch("$")


@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("/a/./b/../c", "/a/c"), ("/..", "/"), ("/a/..", "/"), ("/a/.", "/a/"), ("/a//b", "/a//b"),
        ("/%61%2F%2e%2E/b", "/a%2F../b"), ("/a?x=/../y", "/a?x=/../y"), ("/a\\b", "/a/b"),
        ("/{x}|", "/%7Bx%7D%7C"),
    ],
)  # fmt: skip
def test_paths_are_normalized_as_by_envoy(path: str, made: str) -> None:
    assert normalized(path, normalize=True) == made
    assert normalized(path, normalize=False) == path


@settings(deadline=None)
@given(PATHS)
def test_a_normal_path_stays_as_it_is(path: str) -> None:
    once = normalized(path, normalize=True)
    assert normalized(once, normalize=True) == once
    assert "/../" not in f"{once}/"


@pytest.mark.parametrize(
    ("wanted", "path", "why"),
    [
        (match("prefix", "/a"), "/ab?q", ""),
        (match("prefix", "/a"), "/b", "path is /b, wanted the prefix /a"),
        (match("path", "/a"), "/a?q", ""),
        (match("path", "/a"), "/a/", "path is /a/, wanted /a"),
        (match("path_separated_prefix", "/a"), "/a/b", ""),
        (match("path_separated_prefix", "/a"), "/ab", "path is /ab, wanted the segments /a"),
        (match("safe_regex", "/[0-9]+"), "/42", ""),
        (match("safe_regex", "/[0-9]+"), "/42x", "path is /42x, wanted a match of '/[0-9]+'"),
    ],
)
def test_each_kind_of_path_says_what_it_wanted(wanted: route_pb.RouteMatch, path: str, why: str) -> None:
    assert why_not(wanted, Request("host", path=path)) == why


def test_headers_that_are_there_several_times_are_one_value() -> None:
    request = Request("host", headers=(("user", "a"), ("user", "b")))
    assert why_not(match(user="a,b"), request) == ""
    assert why_not(match(user="a"), request) == "header user is 'a,b', wanted 'a'"


def test_a_condition_that_is_not_understood_is_not_guessed() -> None:
    strange = match()
    strange.grpc.SetInParent()
    with pytest.raises(CannotTell, match="grpc"):
        why_not(strange, Request("host"))
    # One that is understood, and fails, settles it.
    strange.path = "/other"
    assert why_not(strange, Request("host")) == "path is /, wanted /other"


def test_a_match_in_words() -> None:
    assert asked_of(match()) == ""
    assert asked_of(match("path", "/a", user="x")) == "path /a, header user 'x'"


def test_the_most_specific_domain_counts() -> None:
    domains = (["*"], ["*.b.c"], ["*.a.b.c", "x.b.c"], ["a.*"], ["X.b.c:80"])
    hosts = [route_pb.VirtualHost(name=str(index), domains=item) for index, item in enumerate(domains)]

    def found(name: str, *, ignore_port: bool = False) -> str:
        host = host_for(hosts, name, ignore_port=ignore_port)
        return host[0].name if host else ""

    assert [found(name) for name in ("x.b.c", "y.b.c", "z.a.b.c", ".b.c", "a.z", "q")] == list("212030")
    assert found("x.B.c:80") == "4"
    assert found("y.b.c:80") == "0"
    assert found("y.b.c:80", ignore_port=True) == "1"
    assert host_for(hosts[1:], "q", ignore_port=False) is None


KINDS = st.sampled_from(["prefix", "path", "path_separated_prefix", "safe_regex"])
VALUES = st.sampled_from(["/", "/a", "/a/b", "/ab", "/A"])
MATCHES = st.builds(
    lambda kind, value, user, folds: _folding(match(kind, value, **user), folds),
    KINDS, VALUES, st.sampled_from([{}, {"user": "x"}, {"user": "y"}]), st.booleans(),
)  # fmt: skip


def _folding(made: route_pb.RouteMatch, folds: bool) -> route_pb.RouteMatch:
    if folds:
        made.case_sensitive.value = False
    return made


@settings(deadline=None)
@given(MATCHES, MATCHES, PATHS, st.sampled_from(["x", "y", ""]))
def test_what_covers_another_takes_all_of_its_requests(
    wide: route_pb.RouteMatch, narrow: route_pb.RouteMatch, path: str, user: str
) -> None:
    request = Request("host", path=path, headers=(("user", user),) if user else ())
    if covers(wide, narrow) and not why_not(narrow, request):
        assert why_not(wide, request) == ""
