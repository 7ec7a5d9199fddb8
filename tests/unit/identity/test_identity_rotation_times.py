"""When an SVID is asked for, minute by minute, by a clock of the test's own."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marline.identity.rotation import (
    FIRST_RETRY_SECONDS,
    MAX_RETRY_SECONDS,
    MAX_URGENT_RETRY_SECONDS,
    Effect,
    Phase,
    Rotation,
)

NOW = 1_790_000_000.0
DAY, HOUR, MINUTE = 86400.0, 3600.0, 60.0


def no_jitter() -> float:
    return 0.0


def in_use(chance: Callable[[], float] = no_jitter, life: float = DAY) -> Rotation:
    """A rotation whose first SVID was signed NOW."""
    rotation = Rotation(chance)
    assert rotation.tick(NOW) == (Effect.SIGN,)
    assert rotation.signed(NOW, NOW + life) == (Effect.DELIVER,)
    return rotation


def test_it_begins_by_asking_and_asks_once() -> None:
    rotation = Rotation(no_jitter)
    assert rotation.tick(NOW) == (Effect.SIGN,)
    assert rotation.tick(NOW + 1) == ()
    assert rotation.phase is Phase.SIGNING
    assert rotation.wake_at is None


def test_it_is_renewed_at_half_of_its_life() -> None:
    rotation = in_use()
    asked = [minute for minute in range(24 * 60) if rotation.tick(NOW + minute * MINUTE)]
    assert asked == [12 * 60]
    assert rotation.wake_at == NOW + DAY


def test_jitter_brings_it_forward_by_a_tenth_of_its_life_at_most() -> None:
    assert in_use(lambda: 0.999999).wake_at == pytest.approx(NOW + DAY * 0.4, abs=1)
    assert in_use(lambda: 0.5).wake_at == pytest.approx(NOW + DAY * 0.45, abs=1)


def test_after_renewal_the_new_one_counts() -> None:
    rotation = in_use()
    rotation.tick(NOW + DAY / 2)
    assert rotation.signed(NOW + DAY / 2, NOW + DAY * 1.5) == (Effect.DELIVER,)
    assert rotation.wake_at == NOW + DAY
    assert rotation.expires_at == NOW + DAY * 1.5


def test_failures_are_retried_less_and_less_often() -> None:
    rotation, now, delays = in_use(lambda: 0.999999), NOW + DAY / 2, []
    rotation.tick(now)
    for _ in range(10):
        assert rotation.failed(now) == ()
        assert rotation.wake_at is not None
        delays.append(round(rotation.wake_at - now, 1))
        now = rotation.wake_at
        assert rotation.tick(now) == (Effect.SIGN,)
    assert delays[:6] == [FIRST_RETRY_SECONDS * 2**step for step in range(6)]
    assert delays[-1] == MAX_RETRY_SECONDS


def test_it_is_not_asked_for_before_the_delay_is_over() -> None:
    rotation = in_use()
    rotation.tick(NOW + DAY / 2)
    rotation.failed(NOW + DAY / 2)
    assert rotation.tick(NOW + DAY / 2 + 0.2) == ()
    assert rotation.tick(NOW + DAY / 2 + 0.25) == (Effect.SIGN,)


def test_without_any_svid_it_is_asked_for_often() -> None:
    rotation, now = Rotation(lambda: 0.999999), NOW
    for _ in range(30):
        assert rotation.tick(now) == (Effect.SIGN,)
        rotation.failed(now)
        assert rotation.wake_at is not None
        assert rotation.wake_at - now <= MAX_URGENT_RETRY_SECONDS
        now = rotation.wake_at


def test_a_short_life_is_not_slept_away_between_retries() -> None:
    """A minute of life, and the authority is away in its whole second half."""
    rotation, now, tries = in_use(lambda: 0.999999, life=60.0), NOW + 30, 0
    while rotation.valid(now):
        tries += Effect.SIGN in rotation.tick(now)
        rotation.failed(now)
        assert rotation.wake_at is not None
        now = rotation.wake_at
    assert tries >= 12


def test_expiry_is_said_once_and_does_not_stop_the_asking() -> None:
    rotation = in_use()
    rotation.tick(NOW + DAY / 2)
    rotation.failed(NOW + DAY / 2)
    assert rotation.tick(NOW + DAY) == (Effect.REPORT_EXPIRY, Effect.SIGN)
    assert not rotation.valid(NOW + DAY)
    rotation.failed(NOW + DAY)
    assert rotation.tick(NOW + DAY + 60) == (Effect.SIGN,)
    rotation.signed(NOW + DAY + 60, NOW + 2 * DAY)
    assert rotation.valid(NOW + DAY + 61)
    assert rotation.failures == 0


def test_it_wakes_for_expiry_while_an_answer_is_awaited() -> None:
    rotation = in_use()
    rotation.tick(NOW + DAY / 2)
    assert rotation.wake_at == NOW + DAY
    assert rotation.tick(NOW + DAY) == (Effect.REPORT_EXPIRY,)


def test_a_machine_that_slept_asks_as_soon_as_it_wakes() -> None:
    assert in_use().tick(NOW + 20 * HOUR) == (Effect.SIGN,)


def test_a_clock_that_was_set_back_makes_it_ask() -> None:
    """The SVID would be in the future; a second's correction does not count."""
    rotation = in_use()
    assert rotation.tick(NOW - 1) == ()
    assert rotation.tick(NOW - HOUR) == (Effect.SIGN,)
    rotation.signed(NOW - HOUR, NOW)
    assert rotation.tick(NOW - HOUR + 1) == ()


@given(
    st.floats(min_value=-10, max_value=30 * DAY),
    st.lists(st.tuples(st.booleans(), st.floats(min_value=0, max_value=0.999)), max_size=40),
)
def test_it_always_wakes_later_and_never_in_a_loop(life: float, answers: list[tuple[bool, float]]) -> None:
    chances = iter([chance for _, chance in answers])
    rotation, now = Rotation(lambda: next(chances)), NOW
    for good, _ in answers:
        while Effect.SIGN not in rotation.tick(now):
            assert rotation.wake_at is not None
            assert rotation.wake_at > now
            now = rotation.wake_at
        rotation.signed(now, now + life) if good else rotation.failed(now)
        assert rotation.wake_at is not None
        assert math.isfinite(rotation.wake_at)
        if not good:
            assert rotation.tick(now + 0.2) in ((), (Effect.REPORT_EXPIRY,))
