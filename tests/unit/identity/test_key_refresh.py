"""When key sets are fetched: at first, again and again, and sooner after failures."""

from marline.identity.key_refresh import REFRESH_SECONDS, KeyRefresh
from marline.mesh.token_keys import KeySource

A, B = KeySource("https://a.example.com"), KeySource("https://b.example.com")


def refresh() -> KeyRefresh:
    return KeyRefresh(lambda: 0.0)


def test_what_is_wanted_is_fetched_at_once_and_not_twice_at_a_time() -> None:
    machine = refresh()
    assert machine.wake_at is None
    machine.want(A)
    assert machine.wake_at is not None
    assert machine.due(5.0) == [A]
    assert machine.due(6.0) == []
    machine.want(B)
    assert machine.due(6.0) == [B]


def test_a_key_set_is_fetched_again_and_only_a_new_one_is_told() -> None:
    machine = refresh()
    machine.want(A)
    for now, document, differs in ((0.0, "one", True), (9999.0, "one", False), (99999.0, "two", True)):
        assert machine.due(now) == [A]
        assert machine.fetched(A, now, document) is differs
        assert machine.wake_at == now + REFRESH_SECONDS
        assert machine.due(now + REFRESH_SECONDS - 1) == []


def test_after_failures_it_waits_longer_and_longer_and_keeps_the_last_good_one() -> None:
    machine = refresh()
    machine.want(A, "before")
    waits, now = [], 0.0
    for number in range(9):
        assert machine.due(now) == [A]
        assert machine.failed(A, now, "away") is (number == 0)
        assert machine.wake_at is not None
        waits.append(machine.wake_at - now)
        now = machine.wake_at
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert machine.known[A].document == "before"
    machine.due(now)
    assert not machine.fetched(A, now, "before")
    assert machine.known[A].fault == ""


def test_of_what_nobody_wants_any_more_nothing_is_kept() -> None:
    machine = refresh()
    machine.want(A)
    machine.due(0.0)
    machine.forget(A)
    assert not machine.fetched(A, 1.0, "late")
    assert not machine.failed(A, 1.0, "late")
    assert machine.known == {}
