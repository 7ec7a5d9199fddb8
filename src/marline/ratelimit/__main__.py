"""`python -m marline.ratelimit --socket PATH`: count until SIGTERM or SIGINT.

With the environment variable `MARLINE_RATE_LIMIT_REDIS` the counts are in that Redis; its URL may hold a
password, which would be seen on a command line.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from marline.ratelimit.counters import Counters
from marline.ratelimit.memory import MemoryCounters
from marline.ratelimit.server import serve_limits

REDIS_VARIABLE: Final = "MARLINE_RATE_LIMIT_REDIS"

_log = logging.getLogger(__name__)


async def run(socket: Path, redis_url: str) -> None:
    """Raises OSError if the socket is not to be had, ValueError if the URL is none."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        counters: Counters = MemoryCounters()
        if redis_url:
            # Its client is as large as all the rest.
            from marline.ratelimit.redis_counters import redis_counters

            counters = await stack.enter_async_context(redis_counters(redis_url))
        await stack.enter_async_context(serve_limits(counters, socket))
        _log.info("counting in %s", "Redis" if redis_url else "memory")
        await stopping.wait()


def main(arguments: list[str]) -> int:
    """The exit code: 1 if it could not start, with the reason in the log."""
    parser = argparse.ArgumentParser(prog="marline.ratelimit", description=__doc__)
    parser.add_argument("--socket", required=True, type=Path)
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    try:
        asyncio.run(run(options.socket, os.environ.get(REDIS_VARIABLE, "")))
    except (OSError, ValueError) as error:
        _log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
