"""A workload's identity where it is used: a key made here, its certificate renewed, both kept in memory."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from marline.identity.errors import SignFailed
from marline.identity.peers import Allowed
from marline.identity.rotation import Effect, Rotation
from marline.identity.sds import SdsServer
from marline.identity.spiffe import SpiffeId, parse
from marline.identity.svid import SignedSvid, Svid, accept, make_csr, make_key

Sign = Callable[[str, str], Awaitable[SignedSvid]]
"""`(csr_pem, spiffe_id)`: asks the authority; raises `SignFailed` if there is no certificate this time."""

SIGN_SECONDS: Final = 15.0
_LONGEST_SLEEP_SECONDS: Final = 60.0
"""A sleeping machine stops the timers of its processes but not the life of certificates, so the time is
looked at once a minute."""

_log = logging.getLogger(__name__)


class SvidSource:
    """Keeps one identity current within `async with`, and hands each new SVID to `publish`.

    While the authority is away the last good SVID stays in use.
    """

    def __init__(
        self,
        spiffe_id: SpiffeId,
        sign: Sign,
        publish: Callable[[Svid], None],
        *,
        settled: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.spiffe_id = spiffe_id
        self.current: Svid | None = None
        self.since = 0.0
        """When `current` was signed, in Unix seconds."""
        self.last_failure = ""
        """Why there was no certificate the last time; "" once there was."""
        self._sign, self._publish, self._settled, self._clock = sign, publish, settled, clock
        self._woken = asyncio.Event()
        self._rotation = Rotation(chance)
        self._first = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name=f"identity {self.spiffe_id}")
        self._task.add_done_callback(_report)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def first(self) -> Svid:
        """Wait until there is an SVID."""
        await self._first.wait()
        assert self.current is not None  # noqa: S101 (the event says so)
        return self.current

    @property
    def acknowledged(self) -> str:
        """The version of the authority whose certificate and roots are in use; "" while others may be."""
        return self.current.authority if self.current is not None and self._settled() else ""

    def follow(self, authority: str) -> None:
        """The authority has this version now: renew, unless the certificate is of that one."""
        if self.current is not None and self.current.authority != authority:
            self._rotation.hurry(self._clock())
            self._woken.set()

    async def _run(self) -> None:
        while True:
            for effect in self._rotation.tick(self._clock()):
                if effect is Effect.SIGN:
                    await self._renew()
                elif effect is Effect.REPORT_EXPIRY:
                    _log.error("the certificate of %s has expired: %s", self.spiffe_id, self.last_failure)
            wake_at = self._rotation.wake_at
            delay = _LONGEST_SLEEP_SECONDS if wake_at is None else wake_at - self._clock()
            self._woken.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(max(delay, 0.0), _LONGEST_SLEEP_SECONDS)):
                    await self._woken.wait()

    async def _renew(self) -> None:
        key = make_key()
        try:
            async with asyncio.timeout(SIGN_SECONDS):
                signed = await self._sign(make_csr(key), str(self.spiffe_id))
            svid = accept(key, self.spiffe_id, signed)
        except (SignFailed, TimeoutError) as error:
            self._failed(str(error) or f"no answer within {SIGN_SECONDS:g} s")
            return
        if Effect.DELIVER in self._rotation.signed(self._clock(), svid.not_after):
            self.current, self.since, self.last_failure = svid, self._clock(), ""
            self._publish(svid)
            self._first.set()

    def _failed(self, reason: str) -> None:
        self._rotation.failed(self._clock())
        if not self.last_failure:
            _log.warning("%s: %s; trying again", self.spiffe_id, reason)
        self.last_failure = reason


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.critical("%s ended and renews no more", task.get_name(), exc_info=task.exception())


class FederatedRoots:
    """The roots, in PEM, of other trust domains by name, and who is told when they are others."""

    def __init__(self, roots: Mapping[str, str] | None = None) -> None:
        self._roots: Mapping[str, str] = roots or {}
        self._told: set[Callable[[Mapping[str, str]], None]] = set()

    def replace(self, roots: Mapping[str, str]) -> None:
        """From now on these are trusted, each for its own identities."""
        self._roots = roots
        for tell in list(self._told):
            tell(roots)

    @contextmanager
    def following(self, tell: Callable[[Mapping[str, str]], None]) -> Iterator[None]:
        """Within this block `tell` is called at once and at every change."""
        tell(self._roots)
        self._told.add(tell)
        try:
            yield
        finally:
            self._told.discard(tell)


@asynccontextmanager
async def serve_svid(
    spiffe_id: str,
    socket: Path,
    allowed: Allowed,
    sign: Sign,
    told: Callable[[], None] = lambda: None,
    *,
    federated: FederatedRoots | None = None,
    renewed: Callable[[], None] = lambda: None,
) -> AsyncIterator[SvidSource]:
    """Serve this identity at a Unix socket to the processes that are allowed, within this block. `told` is
    called when they may have acknowledged it, `renewed` whenever there is another SVID.

    Raises `InvalidSpiffeId`, `SocketUnusable`.
    """
    async with SdsServer(socket, allowed, told) as server:

        def publish(svid: Svid) -> None:
            server.publish(svid)
            renewed()

        with (federated or FederatedRoots()).following(server.trust):
            source = SvidSource(parse(spiffe_id), sign, publish, settled=lambda: server.settled)
            async with source:
                yield source
