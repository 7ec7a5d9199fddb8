"""When policies have last matched, over restarts of proxies and of whoever watches."""

import msgspec

from marline.telemetry.policy_hits import RuleId
from marline.telemetry.policy_matches import Matches, seen

FIRST, SECOND = RuleId("shop", "p", 0), RuleId("shop", "p", 1)
ALL = {"shop/p", "shop/q"}


def test_a_rule_has_matched_when_its_count_has_grown() -> None:
    matches = seen(Matches(1.0), {"a/1": {FIRST: 0, SECOND: 2}}, ALL, 10.0)
    assert (matches.last, matches.last_of("shop", "p")) == ({"shop/p/1": 10.0}, 10.0)
    matches = seen(matches, {"a/1": {FIRST: 0, SECOND: 2}}, ALL, 20.0)
    assert matches.last_of("shop", "p") == 10.0
    matches = seen(matches, {"a/1": {FIRST: 1, SECOND: 2}}, ALL, 30.0)
    assert matches.last_of("shop", "p") == 30.0
    assert matches.last_of("shop", "q") is None
    assert matches.since == 1.0


def test_a_proxy_that_is_started_again_counts_from_zero() -> None:
    matches = seen(Matches(1.0), {"a/1": {FIRST: 5}}, ALL, 10.0)
    matches = seen(matches, {"a/2": {FIRST: 0}}, ALL, 20.0)
    assert matches.last_of("shop", "p") == 10.0
    assert list(matches.counts) == ["a/2"]
    assert seen(matches, {"a/2": {FIRST: 1}}, ALL, 30.0).last_of("shop", "p") == 30.0


def test_whoever_watches_again_does_not_count_twice() -> None:
    matches = seen(Matches(1.0), {"a/1": {FIRST: 5}}, ALL, 10.0)
    kept = msgspec.json.decode(msgspec.json.encode(matches), type=Matches)
    assert seen(kept, {"a/1": {FIRST: 5}}, ALL, 20.0) == matches


def test_a_proxy_that_does_not_answer_once_is_known_by_its_last_counts() -> None:
    matches = seen(Matches(1.0), {"a/1": {FIRST: 5}}, ALL, 10.0)
    matches = seen(matches, {"a/1": None}, ALL, 20.0)
    assert seen(matches, {"a/1": {FIRST: 5}}, ALL, 30.0).last_of("shop", "p") == 10.0


def test_a_policy_that_is_no_more_is_forgotten() -> None:
    matches = seen(Matches(1.0), {"a/1": {FIRST: 5}}, ALL, 10.0)
    matches = seen(matches, {"a/1": {FIRST: 6}}, {"shop/q"}, 20.0)
    assert matches.last == {}
    assert seen(matches, {"a/1": {FIRST: 6}}, ALL, 30.0).last_of("shop", "p") is None
