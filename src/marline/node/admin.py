"""Asking an Envoy: its admin interface, which is a Unix socket and never anything else."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from marline.node.errors import AdminError

_ASK_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Admin:
    """Envoy's admin interface on its Unix socket."""

    socket: Path

    async def get(self, path: str) -> str:
        return await self._ask("GET", path)

    async def post(self, path: str) -> str:
        return await self._ask("POST", path)

    async def _ask(self, method: str, path: str) -> str:
        timeout = aiohttp.ClientTimeout(total=_ASK_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(
                    connector=aiohttp.UnixConnector(str(self.socket)), timeout=timeout
                ) as session,
                session.request(method, f"http://admin{path}") as response,
            ):
                return await response.text()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise AdminError(f"{self.socket}: {error}") from error
