"""Ending background tasks: whose cancellation is whose."""

import asyncio

import pytest

from marline.node.machine import ended


async def test_what_a_task_raised_while_it_ended_is_raised() -> None:
    async def fails_at_the_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("broken")

    task = asyncio.create_task(fails_at_the_end())
    await asyncio.sleep(0)
    with pytest.raises(ValueError, match="broken"):
        await ended(task)


async def test_a_caller_that_is_cancelled_meanwhile_stays_cancelled() -> None:
    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    reached_the_end = False

    async def caller() -> None:
        nonlocal reached_the_end
        task = asyncio.create_task(slow_to_end())
        await asyncio.sleep(0)
        await ended(task)
        reached_the_end = True

    calling = asyncio.create_task(caller())
    for _ in range(3):
        await asyncio.sleep(0)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert not reached_the_end
