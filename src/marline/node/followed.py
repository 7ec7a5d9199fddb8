"""The authority, followed by one process that serves identities.

The control plane is told which certificates its Envoys have acknowledged, and tells when its authority
changes: then all are renewed at once, not only when their time has come.
"""

import asyncio
import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import msgspec

from marline.api.errors import InvalidResource
from marline.identity.agent import SvidSource
from marline.identity.following import PATH, Following, Held, Newest
from marline.store.interface import StoreError
from marline.store.remote.client import RemoteStore

_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 5.0
_COALESCE_SECONDS: Final = 0.05
"""What changes within this time of a change is said together."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class FollowedSources:
    """All that one process serves."""

    store: RemoteStore
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there may be something else to say than the last time."""
    _sources: dict[str, SvidSource] = field(default_factory=dict)
    _agent: str = field(default_factory=lambda: secrets.token_hex(8))

    @contextmanager
    def including(self, name: str, source: SvidSource) -> Iterator[None]:
        """Within this block a source is spoken of, by the node id of its proxy, and renewed in time."""
        self._sources[name] = source
        try:
            yield
        finally:
            del self._sources[name]
            self.changed.set()

    async def run(self) -> None:
        """Follow the authority, for ever."""
        known, pause = "", _FIRST_PAUSE
        while True:
            self.changed.clear()
            asking = asyncio.create_task(self._ask(known))
            changed = asyncio.create_task(self.changed.wait())
            try:
                await asyncio.wait((asking, changed), return_when=asyncio.FIRST_COMPLETED)
                if not asking.done():
                    await asyncio.sleep(_COALESCE_SECONDS)
                    continue  # what was said is out of date: say it anew
                known, pause = asking.result(), _FIRST_PAUSE
            except (StoreError, InvalidResource, msgspec.DecodeError) as error:
                _log.info("the authority is not followed: %s", error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            finally:
                asking.cancel()
                changed.cancel()
                await asyncio.gather(asking, changed, return_exceptions=True)
            for source in self._sources.values():
                source.follow(known)

    async def _ask(self, known: str) -> str:
        proxies = {name: _held(source) for name, source in self._sources.items()}
        said = msgspec.to_builtins(Following(self._agent, known, proxies))
        answer = await self.store.request("POST", PATH, body=said)
        return msgspec.json.decode(answer.body, type=Newest).authority


def _held(source: SvidSource) -> Held:
    svid = source.current
    if svid is None:
        return Held(str(source.spiffe_id), failure=source.last_failure)
    return Held(str(source.spiffe_id), source.acknowledged, source.since, svid.not_after, source.last_failure)
