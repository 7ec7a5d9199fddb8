"""Say on stderr what is being waited for, once it takes more than a second."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import click

from marline.store.spans import human_duration

_PATIENCE_SECONDS: Final = 1.0
_CLEAR_LINE: Final = "\r\x1b[2K"


@asynccontextmanager
async def progress(what: str) -> AsyncIterator[None]:
    """Within this block: `what` and how long it has taken, kept up to date on a terminal; else one line."""
    telling = asyncio.create_task(_tell(what), name="progress")
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


async def _tell(what: str) -> None:
    await asyncio.sleep(_PATIENCE_SECONDS)
    if not sys.stderr.isatty():
        click.echo(f"{what} …", err=True)
        return
    begun = asyncio.get_running_loop().time() - _PATIENCE_SECONDS
    try:
        while True:
            passed = human_duration(asyncio.get_running_loop().time() - begun)
            click.echo(f"{_CLEAR_LINE}{what} … {passed}", err=True, nl=False)
            await asyncio.sleep(1)
    finally:
        click.echo(_CLEAR_LINE, err=True, nl=False)
