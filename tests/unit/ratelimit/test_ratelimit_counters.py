"""Counters in memory and in a real Redis answer alike."""

from collections.abc import AsyncIterator

import pytest

from marline.api.policy.descriptors import Quota
from marline.ratelimit.counters import Counters, CountersUnavailable
from marline.ratelimit.memory import MemoryCounters
from marline.ratelimit.windows import Count, Question
from redis_process import running_redis


def asked(key: str, window: int = 0, hits: int = 1, seconds: int = 60) -> Question:
    return Question(Count(key, window, seconds), Quota(5, seconds), hits)


@pytest.fixture(params=["memory", "redis"])
async def counters(request: pytest.FixtureRequest) -> AsyncIterator[Counters]:
    if request.param == "memory":
        yield MemoryCounters()
        return
    async with running_redis() as url:
        from marline.ratelimit.redis_counters import redis_counters

        async with redis_counters(url) as made:
            yield made


async def test_hits_of_a_window_add_up(counters: Counters) -> None:
    assert [await counters.add([asked("a", hits=hits)], 0.0) for hits in (1, 3, 2)] == [[1], [4], [6]]


async def test_each_key_window_and_length_has_a_count_of_its_own(counters: Counters) -> None:
    assert await counters.add([asked("a"), asked("b"), asked("a", seconds=3600)], 0.0) == [1, 1, 1]
    assert await counters.add([asked("a"), asked("b")], 0.0) == [2, 2]
    assert await counters.add([asked("a", window=60)], 60.0) == [1]


async def test_a_request_without_limits_counts_as_nothing(counters: Counters) -> None:
    assert await counters.add([], 0.0) == []


async def test_memory_is_bounded_and_what_was_asked_for_longest_ago_is_forgotten_first() -> None:
    counters = MemoryCounters(capacity=2)
    for key in ("a", "b", "a", "c"):
        await counters.add([asked(key)], 0.0)
    assert counters.forgotten == 1
    assert await counters.add([asked("a"), asked("b")], 0.0) == [3, 1]
    assert counters.forgotten == 2
    await counters.add([asked("d")], 1000.0)
    assert counters.forgotten == 2, "a window that has ended is no loss"


async def test_counts_in_redis_end_with_their_window() -> None:
    async with running_redis() as url:
        from redis.asyncio import Redis

        from marline.ratelimit.redis_counters import redis_counters

        async with redis_counters(url) as counters, Redis.from_url(url) as client:
            await counters.add([asked("a"), asked("b", seconds=3600)], 0.0)
            lives = sorted([await client.ttl(key) for key in await client.keys("*")])
    assert 59 <= lives[0] <= 61
    assert 3599 <= lives[1] <= 3601


async def test_a_redis_that_is_gone_is_said_to_be() -> None:
    pytest.importorskip("redis")
    from marline.ratelimit.redis_counters import redis_counters

    async with redis_counters("unix:///no/such/redis.sock") as counters:
        with pytest.raises(CountersUnavailable):
            await counters.add([asked("a")], 0.0)
