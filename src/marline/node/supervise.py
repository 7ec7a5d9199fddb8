"""Keeping one process alive: a state machine without processes, clock or chance, and a short shell.

Events come in with the time (seconds of any monotonic clock); effects come out. A process that ends is
started again after a delay that doubles with every failure in a row, up to a limit, and is forgotten once
the process has lived long enough. Jitter keeps many processes that fail together from starting together.
"""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from marline.node.errors import StartFailed
from marline.node.process import Process


class Phase(Enum):
    IDLE = "idle"
    RUNNING = "running"
    BACKING_OFF = "backing off"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Effect(Enum):
    """What the shell has to do now."""

    START = "start"
    TERMINATE = "terminate"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class BackOff:
    """Seconds before the next start; `jitter` is the part of it that chance may take away."""

    first: float = 0.1
    factor: float = 2.0
    maximum: float = 30.0
    jitter: float = 0.2
    forget_after: float = 30.0

    def delay(self, failures: int, chance: float) -> float:
        """After so many failures in a row; `chance` is between 0 and 1."""
        grown = self.first * self.factor ** min(failures - 1, 64)
        return min(grown, self.maximum) * (1 - self.jitter * chance)


@dataclass(slots=True)
class Supervision:
    """The state of one supervised process."""

    back_off: BackOff = BackOff()
    restart: bool = True
    phase: Phase = Phase.IDLE
    restarts: int = 0
    wake_at: float | None = None
    """When `wake` has something to do."""
    _failures: int = 0
    _started_at: float = 0.0

    def begin(self, now: float) -> tuple[Effect, ...]:
        return self._start(now)

    def exited(self, now: float, chance: float) -> tuple[Effect, ...]:
        """The process ended by itself, was killed by somebody, or could not be started."""
        if self.phase is Phase.STOPPING or not self.restart:
            self.phase, self.wake_at = Phase.STOPPED, None
            return ()
        if now - self._started_at >= self.back_off.forget_after:
            self._failures = 0
        self._failures += 1
        self.phase = Phase.BACKING_OFF
        self.wake_at = now + self.back_off.delay(self._failures, chance)
        return ()

    def stop(self, now: float, grace: float) -> tuple[Effect, ...]:
        """End it: SIGTERM now, SIGKILL after `grace` seconds."""
        if self.phase is Phase.RUNNING:
            self.phase, self.wake_at = Phase.STOPPING, now + grace
            return (Effect.TERMINATE,)
        if self.phase is not Phase.STOPPING:
            self.phase, self.wake_at = Phase.STOPPED, None
        return ()

    def wake(self, now: float) -> tuple[Effect, ...]:
        """The time has come that `wake_at` named."""
        if self.wake_at is None or now < self.wake_at:
            return ()
        if self.phase is Phase.BACKING_OFF:
            self.restarts += 1
            return self._start(now)
        self.wake_at = None
        return (Effect.KILL,) if self.phase is Phase.STOPPING else ()

    def _start(self, now: float) -> tuple[Effect, ...]:
        self.phase, self.wake_at, self._started_at = Phase.RUNNING, None, now
        return (Effect.START,)


@dataclass(slots=True)
class Supervisor:
    """The shell: performs the effects of a `Supervision` on a real process."""

    start: Callable[[], Awaitable[Process]]
    changed: Callable[[], None] = lambda: None
    """Called after each start, exit and change of phase."""
    machine: Supervision = field(default_factory=Supervision)
    process: Process | None = None
    last_exit: int | None = None
    message: str = ""
    """Why it could not be started, last."""
    _grace: float = 0.0
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _began: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until it is stopped, or the process has ended and is not to be started again."""
        try:
            await self._perform(self.machine.begin(_now()))
            while self.machine.phase is not Phase.STOPPED:
                await self._step()
        finally:
            if self.process is not None:
                await self.process.end(0)

    def stop(self, grace: float) -> None:
        """Ask `run` to end: SIGTERM, and SIGKILL after `grace` seconds."""
        self._grace = grace
        self._stop.set()

    @property
    def pid(self) -> int:
        """0 while there is no process."""
        return self.process.pid if self.process is not None else 0

    async def _step(self) -> None:
        waits: list[asyncio.Task[Any]] = []
        if self.machine.phase is not Phase.STOPPING:
            waits.append(asyncio.create_task(self._stop.wait()))
        ended = asyncio.create_task(self.process.wait()) if self.process is not None else None
        if ended is not None:
            waits.append(ended)
        wake_at = self.machine.wake_at
        try:
            timeout = None if wake_at is None else max(0.0, wake_at - _now())
            await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                if not task.done():
                    task.cancel()
        if ended is not None and ended.done() and self.process is not None:
            self.process.signal(signal.SIGKILL)  # what it started and left behind
            self.last_exit, self.process = ended.result(), None
            await self._perform(self.machine.exited(_now(), random.random()))  # noqa: S311 (jitter)
        elif self._unseen():
            await self._perform(self.machine.stop(_now(), self._grace))
        else:
            await self._perform(self.machine.wake(_now()))

    def _unseen(self) -> bool:
        """Was a stop asked for that the machine has not been told of?"""
        return self._stop.is_set() and self.machine.phase not in (Phase.STOPPING, Phase.STOPPED)

    async def _perform(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            if effect is Effect.START:
                try:
                    self.process, self.message = await self.start(), ""
                except StartFailed as error:
                    self.message = str(error)
                    await self._perform(self.machine.exited(_now(), random.random()))  # noqa: S311 (jitter)
            elif self.process is not None:
                self.process.signal(signal.SIGTERM if effect is Effect.TERMINATE else signal.SIGKILL)
        self.changed()


def _now() -> float:
    return asyncio.get_running_loop().time()
