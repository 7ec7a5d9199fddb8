"""Supervision as conversations: events with the time in, effects out."""

from marline.node.supervise import BackOff, Effect, Phase, Supervision

NO_CHANCE = 0.0


def test_a_process_that_ends_is_started_again_after_a_delay() -> None:
    machine = Supervision(BackOff(first=0.5))
    assert machine.begin(0.0) == (Effect.START,)
    assert machine.exited(10.0, NO_CHANCE) == ()
    assert machine.wake_at == 10.5
    assert machine.wake(10.4) == ()
    assert machine.wake(10.5) == (Effect.START,)
    assert machine.restarts == 1


def test_the_delay_doubles_up_to_a_limit() -> None:
    machine = Supervision(BackOff(first=1.0, maximum=5.0))
    machine.begin(0.0)
    now, delays = 0.0, []
    for _ in range(5):
        machine.exited(now, NO_CHANCE)
        assert machine.wake_at is not None
        delays.append(machine.wake_at - now)
        now = machine.wake_at
        machine.wake(now)
    assert delays == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_process_that_lived_long_starts_with_a_clean_slate() -> None:
    machine = Supervision(BackOff(first=1.0, forget_after=30.0))
    machine.begin(0.0)
    machine.exited(1.0, NO_CHANCE)
    machine.wake(2.0)
    machine.exited(32.0, NO_CHANCE)
    assert machine.wake_at == 33.0


def test_jitter_only_shortens_the_delay() -> None:
    back_off = BackOff(first=1.0, jitter=0.2)
    assert back_off.delay(1, 1.0) == 0.8
    assert back_off.delay(1, 0.0) == 1.0


def test_stopping_asks_first_and_kills_after_the_grace_period() -> None:
    machine = Supervision()
    machine.begin(0.0)
    assert machine.stop(5.0, grace=3.0) == (Effect.TERMINATE,)
    assert machine.wake(7.9) == ()
    assert machine.wake(8.0) == (Effect.KILL,)
    machine.exited(8.1, NO_CHANCE)
    assert machine.phase is Phase.STOPPED


def test_a_process_that_ends_while_stopping_is_not_started_again() -> None:
    machine = Supervision()
    machine.begin(0.0)
    machine.stop(1.0, grace=3.0)
    assert machine.exited(1.5, NO_CHANCE) == ()
    assert (machine.phase, machine.wake_at) == (Phase.STOPPED, None)


def test_stopping_while_backing_off_starts_nothing_more() -> None:
    machine = Supervision()
    machine.begin(0.0)
    machine.exited(1.0, NO_CHANCE)
    assert machine.stop(1.0, grace=3.0) == ()
    assert machine.wake(100.0) == ()
    assert machine.phase is Phase.STOPPED


def test_a_process_that_is_not_to_be_restarted_is_done_when_it_ends() -> None:
    machine = Supervision(restart=False)
    machine.begin(0.0)
    machine.exited(1.0, NO_CHANCE)
    assert machine.phase is Phase.STOPPED


def test_failures_without_end_do_not_overflow() -> None:
    assert BackOff(first=0.1, maximum=30.0, jitter=0.0).delay(100_000, 0.0) == 30.0
