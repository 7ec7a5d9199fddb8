"""Fixed windows: what is counted together, and what callers are answered."""

import pytest
from envoy.extensions.common.ratelimit.v3 import ratelimit_pb2
from envoy.service.ratelimit.v3 import rls_pb2
from hypothesis import given
from hypothesis import strategies as st

from marline.api.policy.descriptors import Quota
from marline.ratelimit.windows import answer, namespace_of, question

OK = rls_pb2.RateLimitResponse.OK
OVER = rls_pb2.RateLimitResponse.OVER_LIMIT


def descriptor(*entries: tuple[str, str]) -> ratelimit_pb2.RateLimitDescriptor:
    made = ratelimit_pb2.RateLimitDescriptor()
    for key, value in entries:
        made.entries.add(key=key, value=value)
    return made


def limited(quota: str, *entries: tuple[str, str]) -> ratelimit_pb2.RateLimitDescriptor:
    return descriptor(("limit", "default/own/all"), ("quota", quota), *entries)


@given(st.builds(Quota, st.integers(1, 2**32), st.sampled_from((1, 60, 3600, 86400)), st.booleans()))
def test_a_quota_is_read_as_it_was_written(quota: Quota) -> None:
    assert Quota.parse(str(quota)) == quota


@pytest.mark.parametrize("text", ["", "5", "5/", "/5", "5/0", "-1/5", "5/5/other", "5/x", "٥/1x"])
def test_what_is_no_quota_limits_nothing(text: str) -> None:
    assert question(limited(text), 1, 0.0) is None
    assert answer([question(limited(text), 1, 0.0)], [], 0.0).overall_code == OK


def test_a_window_begins_at_a_multiple_of_its_length() -> None:
    windows = [question(limited("5/60"), 1, now) for now in (60.0, 119.9, 120.0)]
    assert [item.count.window for item in windows if item is not None] == [60, 60, 120]


def test_values_with_any_characters_are_told_apart() -> None:
    keys = set()
    for entries in ((("a", "1|b=1:2"),), (("a", "1"), ("b", "2")), (("a", "1b"),), (("a", ""), ("b", "12"))):
        found = question(limited("5/60", *entries), 1, 0.0)
        assert found is not None
        keys.add(found.count.key)
    assert len(keys) == 4


def test_a_change_of_the_quota_keeps_the_count() -> None:
    one, other = question(limited("5/60"), 1, 0.0), question(limited("9/60"), 1, 0.0)
    assert one is not None
    assert other is not None
    assert one.count == other.count


def test_of_a_callers_identity_the_namespace_can_count() -> None:
    assert namespace_of("spiffe://cluster.local/ns/shop/sa/web") == "cluster.local/shop"
    for other in ("-", "spiffe://cluster.local/shop", "https://a/ns/shop/sa/web"):
        assert namespace_of(other) == other
    both = [
        question(limited("5/60", ("caller_namespace", f"spiffe://td/ns/shop/sa/{name}")), 1, 0.0)
        for name in ("web", "job")
    ]
    assert both[0] == both[1]


def test_an_answer_says_how_much_is_left_and_when_there_is_room_again() -> None:
    asked = [question(limited("5/60"), 1, 70.0), None, question(limited("2/3600"), 1, 70.0)]
    made = answer(asked, [5, 3], 70.0)
    assert (made.overall_code, [item.code for item in made.statuses]) == (OVER, [OK, OK, OVER])
    assert [item.limit_remaining for item in made.statuses] == [0, 0, 0]
    assert [item.duration_until_reset.seconds for item in made.statuses] == [50, 0, 3530]
    assert [(item.key, item.value) for item in made.response_headers_to_add] == [("retry-after", "3530")]
    within = answer(asked[:1], [2], 70.0)
    assert (within.overall_code, within.statuses[0].limit_remaining) == (OK, 3)
    assert not within.response_headers_to_add


def test_a_shadow_tells_nobody_to_wait() -> None:
    made = answer([question(limited("1/60/shadow"), 1, 0.0)], [2], 0.0)
    assert made.overall_code == OVER
    assert not made.response_headers_to_add
