"""The rate-limit service of a machine, as a child of the node agent: started when first wanted."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from marline.node.home import Home
from marline.node.process import Launch, Process, spawn
from marline.node.supervise import BackOff, Supervision, Supervisor

_BACK_OFF: Final = BackOff(first=0.1, maximum=5.0)
_GRACE_SECONDS: Final = 3.0


@dataclass(slots=True)
class RateLimits:
    """Kept alive from `start` to `stop`. It finds its Redis, if it has one, in the agent's environment."""

    home: Home
    _supervisor: Supervisor | None = None
    _task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """0 while there is no process."""
        return self._supervisor.pid if self._supervisor is not None else 0

    @property
    def log(self) -> Path:
        return self.home.log / "rate-limits.log"

    def start(self) -> None:
        """Once; afterwards nothing."""
        if self._supervisor is None:
            self._supervisor = Supervisor(self._spawn, machine=Supervision(_BACK_OFF))
            self._task = asyncio.create_task(self._supervisor.run(), name="rate limits")

    async def _spawn(self) -> Process:
        command = (sys.executable, "-m", "marline.ratelimit", "--socket", str(self.home.rate_limit_socket))
        return await spawn(Launch(command, dict(os.environ), directory="/", log=self.log, open_files=True))

    async def stop(self) -> None:
        if self._supervisor is not None and self._task is not None:
            self._supervisor.stop(_GRACE_SECONDS)
            await self._task
