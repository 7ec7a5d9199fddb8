"""A user of the sample application: asks for the page through the ingress gateway."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import aiohttp

_SECONDS: Final = 20.0
"""More than the page needs when everything behind it times out."""
_OK: Final = 200
_SIGNS_OF_FAILURE: Final = ("Error fetching", "currently unavailable")
"""What the page says, with status 200, when a service behind it has failed."""


@dataclass(slots=True)
class Visitor:
    """Sends requests and counts how they end."""

    url: str
    session: aiohttp.ClientSession
    sent: int = 0
    failures: list[str] = field(default_factory=list)
    """What was wrong with each that failed; of very many only the first."""
    failed: int = 0

    async def visit(self) -> None:
        """One request."""
        self.sent += 1
        reason = await self._ask()
        if reason:
            self.failed += 1
            if len(self.failures) < 10:
                self.failures.append(reason)

    async def _ask(self) -> str:
        """ "" or what was wrong."""
        try:
            async with self.session.get(self.url) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            return str(error) or type(error).__name__
        if response.status != _OK:
            return f"HTTP status {response.status}: {text.strip()[:80]}"
        found = next((sign for sign in _SIGNS_OF_FAILURE if sign in text), "")
        return f"the page says {found!r}" if found else ""

    async def keep_visiting(self, per_second: float) -> None:
        """For ever, evenly; a slow answer does not delay the next request."""
        async with asyncio.TaskGroup() as visits:
            while True:
                visits.create_task(self.visit())
                await asyncio.sleep(1 / per_second)


@asynccontextmanager
async def visitor(url: str) -> AsyncIterator[Visitor]:
    """A visitor with connections of its own."""
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
        yield Visitor(url, session)
