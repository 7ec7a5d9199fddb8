"""The socket of the Workload API: processes of this machine come to it, and get what they are registered for.

It is open to every user. What a process is entitled to follows from what the kernel says of it (`callers`);
one that is registered for nothing gets `PERMISSION_DENIED`. At the same socket is SDS for a workload's own
Envoy, as at SPIRE's agent.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from marline.identity.agent import SvidSource
from marline.identity.callers import Caller, Facts
from marline.identity.sds import METHOD, SdsStream
from marline.identity.sds_session import Secrets
from marline.identity.selectors import SHA256, Selector, selects
from marline.identity.trust_endpoint import TrustBundles
from marline.identity.trust_secrets import spire_secrets
from marline.identity.unix_grpc import Reply, Stream, UnixGrpcServer
from marline.identity.workload_api import NO_IDENTITY, Entitlement, Mint, lacks_header, open_call

_MODE: Final = 0o666

_log = logging.getLogger(__name__)

Owns = Callable[[Facts], bool]
"""Whether a process is one of a workload that runs here."""


@dataclass(frozen=True, slots=True, eq=False)
class Registered:
    """An identity, and which processes have it: those that `owns` says, or that all selectors are true of."""

    source: SvidSource
    owns: Owns = field(default=lambda _: False)
    selectors: frozenset[Selector] = frozenset()

    @property
    def wants_checksum(self) -> bool:
        return any(item.kind == SHA256 for item in self.selectors)

    def has(self, facts: Facts, checksum: Selector | None) -> bool:
        known = facts.selectors if checksum is None else facts.selectors | {checksum}
        return self.owns(facts) or selects(self.selectors, known)

    def would_have(self, facts: Facts) -> bool:
        """If only the checksum of its executable is right?"""
        others = frozenset(item for item in self.selectors if item.kind != SHA256)
        return self.wants_checksum and (not others or selects(others, facts.selectors))


class WorkloadServer(UnixGrpcServer):
    """Serves the Workload API and SDS within `async with`."""

    def __init__(self, path: Path, mint: Mint) -> None:
        super().__init__(path, _MODE, self._admit, _refuse)
        self.mint = mint
        self.bundles: TrustBundles | None = None
        self.registered: list[Registered] = []
        self._guests: set[_Workload] = set()
        self._refreshing: asyncio.Task[None] | None = None
        self._again = False

    @property
    def endpoint(self) -> str:
        """As `SPIFFE_ENDPOINT_SOCKET` has it."""
        return f"unix://{self.path}"

    @contextmanager
    def register(self, item: Registered) -> Iterator[None]:
        """Within this block processes can have this identity."""
        self.registered.append(item)
        self.changed()
        try:
            yield
        finally:
            self.registered.remove(item)
            self.changed()

    def changed(self) -> None:
        """There is another SVID, bundle or registration: whoever is connected is told what concerns it."""
        if self._refreshing is not None and not self._refreshing.done():
            self._again = True
            return
        self._refreshing = asyncio.create_task(self._refresh(), name=f"workload API {self.path}")
        self._refreshing.add_done_callback(_report)

    async def _refresh(self) -> None:
        self._again = True
        while self._again:
            self._again = False
            for guest in list(self._guests):
                await guest.look()
            self.update()

    async def _admit(self, connection: Any) -> "_Workload | None":
        try:
            caller = await asyncio.to_thread(Caller, connection)
        except OSError as error:
            _log.info("whoever connected to %s cannot be known: %s", self.path, error)
            return None
        guest = _Workload(self, caller)
        await guest.look()
        if not guest.registered():
            guest.leave()
            return None
        self._guests.add(guest)
        return guest

    def forget(self, guest: "_Workload") -> None:
        self._guests.discard(guest)


def _refuse(path: str, metadata: Mapping[str, str]) -> Reply:
    return lacks_header(path, metadata) or NO_IDENTITY


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("%s could not tell its callers", task.get_name(), exc_info=task.exception())


class _Workload:
    """A process that is registered for something."""

    def __init__(self, server: WorkloadServer, caller: Caller) -> None:
        self._server, self._caller = server, caller
        self._checksum: Selector | None = None

    @property
    def key(self) -> object:
        return self._caller.peer.pid

    async def look(self) -> None:
        """At its executable, if anything depends on that."""
        if self._checksum is None and any(
            item.would_have(self._caller.facts) for item in self._server.registered
        ):
            self._checksum = await self._caller.checksum()

    def registered(self) -> list[Registered]:
        if not self._caller.is_there():
            return []
        facts = self._caller.facts
        return [item for item in self._server.registered if item.has(facts, self._checksum)]

    def call(self, path: str, metadata: Mapping[str, str]) -> Stream | Reply:
        if path == METHOD:
            return SdsStream(self._secrets)
        return open_call(path, metadata, self._entitled, self._server.mint)

    def _entitled(self) -> Entitlement:
        sources = {item.source.spiffe_id: item.source for item in self.registered()}
        svids = tuple(source.current for source in sources.values() if source.current is not None)
        return Entitlement(tuple(sources), svids, self._server.bundles)

    def _secrets(self) -> Secrets:
        known = self._server.bundles
        entitlement = self._entitled()
        if not entitlement.identities:
            return {}
        return spire_secrets(entitlement.svids, (known.own, *known.federated.values()) if known else ())

    def leave(self) -> None:
        self._server.forget(self)
        self._caller.close()
