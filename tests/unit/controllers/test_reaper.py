"""Registrations of processes that died silently are removed after a grace period, others never."""

from hypothesis import given
from hypothesis import strategies as st

from marline.controllers.reaper import Reaper, WorkloadName

REVIEWS = WorkloadName("default", "reviews-v1")
RATINGS = WorkloadName("default", "ratings-v1")


def test_a_workload_whose_proxy_stays_away_is_removed_after_the_grace_period() -> None:
    reaper = Reaper(grace=30)
    assert reaper.step(0, [REVIEWS, RATINGS], [REVIEWS, RATINGS]) == ()
    assert reaper.step(10, [REVIEWS, RATINGS], [RATINGS]) == ()
    assert reaper.next_wake() == 40
    assert reaper.step(39.9, [REVIEWS, RATINGS], [RATINGS]) == ()
    assert reaper.step(40, [REVIEWS, RATINGS], [RATINGS]) == (REVIEWS,)


def test_a_proxy_that_returns_starts_anew() -> None:
    reaper = Reaper(grace=30)
    reaper.step(0, [REVIEWS], [])
    reaper.step(20, [REVIEWS], [REVIEWS])
    assert reaper.next_wake() is None
    assert reaper.step(35, [REVIEWS], []) == ()
    assert reaper.step(65, [REVIEWS], []) == (REVIEWS,)


@given(st.lists(st.tuples(st.floats(0, 10), st.booleans()), max_size=40))
def test_a_workload_is_never_removed_within_the_grace_period_after_a_connection(
    steps: list[tuple[float, bool]],
) -> None:
    reaper, now, absent_since = Reaper(grace=30), 0.0, None
    for elapsed, connected in steps:
        now += elapsed
        absent_since = None if connected else (now if absent_since is None else absent_since)
        removed = reaper.step(now, [REVIEWS], [REVIEWS] if connected else [])
        assert bool(removed) == (absent_since is not None and now - absent_since >= 30)
        if removed:
            absent_since = None


def test_a_workload_that_could_not_be_removed_is_tried_again_after_another_grace_period() -> None:
    reaper = Reaper(grace=30)
    reaper.step(0, [REVIEWS], [])
    assert reaper.step(30, [REVIEWS], []) == (REVIEWS,)
    assert reaper.next_wake() is None
    assert reaper.step(31, [REVIEWS], []) == ()
    assert reaper.next_wake() == 61
    assert reaper.step(61, [REVIEWS], []) == (REVIEWS,)
