"""Counters in Redis: for several machines, and kept when a process ends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from marline.ratelimit.counters import CountersUnavailable
from marline.ratelimit.windows import Question

_PREFIX: Final = "marline:ratelimit:"
_PATIENCE: Final = 1.0
_SCRIPT: Final = """
local totals = {}
for index, key in ipairs(KEYS) do
  totals[index] = redis.call('INCRBY', key, ARGV[2 * index - 1])
  if totals[index] == tonumber(ARGV[2 * index - 1]) then
    redis.call('EXPIRE', key, ARGV[2 * index])
  end
end
return totals
"""
"""All counts of a request in one step; each is gone after its window."""


class RedisCounters:
    """Counts that all services with this Redis share."""

    def __init__(self, client: Redis) -> None:
        self._count = client.register_script(_SCRIPT)

    async def add(self, questions: list[Question], now: float) -> list[int]:
        """As `Counters.add`."""
        if not questions:
            return []
        keys = [f"{_PREFIX}{item.count.seconds}:{item.count.window}:{item.count.key}" for item in questions]
        arguments = [number for item in questions for number in (item.hits, item.count.seconds + 1)]
        try:
            return [int(total) for total in await self._count(keys, arguments)]
        except (RedisError, OSError) as error:
            raise CountersUnavailable(str(error)) from error


@asynccontextmanager
async def redis_counters(url: str) -> AsyncIterator[RedisCounters]:
    """Connected when first asked, within this block. `url` as redis-py takes it: `redis://`, `rediss://` or
    `unix://`."""
    client = Redis.from_url(url, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE)
    try:
        yield RedisCounters(client)
    finally:
        await client.aclose()
