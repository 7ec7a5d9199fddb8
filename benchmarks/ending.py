"""Ctrl-C and SIGTERM end a benchmark only after everything that it started; exit codes are a shell's."""

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Within this block the first signal raises `SystemExit`, so that every `finally` has its turn, and
    further ones are ignored."""

    def end(number: int, _: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, with the same for coroutines: the first signal cancels this one."""
    received: list[int] = []

    async def cancellable() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)

        def end(number: int) -> None:
            if not received:
                task.cancel()
            received.append(number)

        for number in _SIGNALS:
            loop.add_signal_handler(number, end, number)
        return await task

    try:
        return asyncio.run(cancellable())
    except asyncio.CancelledError:
        raise SystemExit(128 + received[0]) from None
