"""Keeps the key sets of RequestAuthentications fetched: proxies get them with their configuration."""

import asyncio
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from marline.api.resource import Ref
from marline.api.security.jwks import KeySet, MalformedKeys, read_keys
from marline.identity.files import PRIVATE, write_whole
from marline.identity.jwks import KeysUnavailable
from marline.identity.key_refresh import KeyRefresh
from marline.mesh.model import ChangeSet
from marline.mesh.token_keys import FetchedKeys, KeySource, key_sources
from marline.mesh.token_policies import REQUEST_AUTHENTICATION

CONDITION: Final = "KeysFetched"

_log = logging.getLogger(__name__)


async def _nobody(keys: FetchedKeys) -> None:
    """Whom key sets are delivered to before there is anybody."""


@dataclass(slots=True)
class KeySets:
    """The shell around `KeyRefresh`. The last good key sets are also in a directory, so that tokens are
    accepted when the control plane has been away and the issuer is."""

    directory: Path
    fetch: Callable[[KeySource], Awaitable[KeySet]]
    """Raises `KeysUnavailable`."""
    deliver: Callable[[FetchedKeys], Awaitable[None]] = _nobody
    told: Callable[[Collection[Ref]], None] = lambda refs: None
    """Called with the policies of which `condition` says something else."""
    refresh: KeyRefresh = field(default_factory=lambda: KeyRefresh(random.random))
    _sources: dict[Ref, frozenset[KeySource]] = field(default_factory=dict)
    _wanting: dict[KeySource, set[Ref]] = field(default_factory=dict)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def provide(self, change: ChangeSet) -> ChangeSet:
        """The change with the key sets that its policies want, as far as there are any."""
        policies: list[Any] = [
            item for item in change.changed if (item.group, item.kind) == REQUEST_AUTHENTICATION
        ]
        wanted = {item.ref: dict.fromkeys(key_sources(item)) for item in policies}
        sources = dict.fromkeys(source for each in wanted.values() for source in each)
        before = {
            source: await asyncio.to_thread(_read, self._file(source))
            for source in sources
            if source not in self.refresh.known
        }
        for source, document in before.items():
            self.refresh.want(source, document)
        for ref in (*change.removed, *wanted):
            self._replace(ref, frozenset(wanted.get(ref, ())))
        if before:
            self._woken.set()
        known = ((source, self.refresh.known[source].document) for source in sources)
        return replace(change, keys=tuple(FetchedKeys(source, text) for source, text in known if text))

    def _replace(self, ref: Ref, sources: frozenset[KeySource]) -> None:
        before = self._sources.pop(ref, frozenset())
        if sources:
            self._sources[ref] = sources
        for source in sources:
            self._wanting.setdefault(source, set()).add(ref)
        for source in before - sources:
            self._wanting[source].discard(ref)
            if not self._wanting[source]:
                del self._wanting[source]
                self.refresh.forget(source)
                self._file(source).unlink(missing_ok=True)

    async def run(self) -> None:
        """For ever."""
        clock = asyncio.get_running_loop().time
        async with asyncio.TaskGroup() as fetching:
            while True:
                self._woken.clear()
                for source in self.refresh.due(clock()):
                    fetching.create_task(self._fetch(source))
                wake_at = self.refresh.wake_at
                try:
                    async with asyncio.timeout_at(wake_at):
                        await self._woken.wait()
                except TimeoutError:
                    continue

    async def _fetch(self, source: KeySource) -> None:
        clock = asyncio.get_running_loop().time
        try:
            keys = await self.fetch(source)
        except KeysUnavailable as error:
            if self.refresh.failed(source, clock(), str(error)):
                _log.warning("no key set: %s", error)
                self.told(self._wanting.get(source, ()))
        else:
            await self._fetched(source, keys)
        self._woken.set()

    async def _fetched(self, source: KeySource, keys: KeySet) -> None:
        known = self.refresh.known.get(source)
        news = known is not None and bool(known.fault or not known.document)
        if self.refresh.fetched(source, asyncio.get_running_loop().time(), keys.document):
            _log.info("%s has a new key set", source.url)
            for fault in keys.faults:
                _log.warning("%s: a key is left out: %s", source.url, fault)
            await self.deliver(FetchedKeys(source, keys.document))
            if source in self.refresh.known:
                await asyncio.to_thread(_write, self._file(source), keys.document)
        if news:
            self.told(self._wanting.get(source, ()))

    def condition(self, ref: Ref) -> dict[str, Any] | None:
        """What is to be said of the keys of a policy; None of what is none."""
        if (ref.group, ref.kind) != REQUEST_AUTHENTICATION:
            return None
        sources = sorted(self._sources.get(ref, ()))
        if not sources:
            return {"type": CONDITION, "status": "True", "reason": "Inline", "message": ""}
        known = [self.refresh.known[source] for source in sources]
        faults = "; ".join(dict.fromkeys(item.fault for item in known if item.fault))
        if all(item.document for item in known):
            reason, message = ("Stale", f"{faults}; the last good keys stay") if faults else ("Fetched", "")
            return {"type": CONDITION, "status": "True", "reason": reason, "message": message}
        reason = "Unavailable" if faults else "Pending"
        message = f"{faults or 'not fetched yet'}; meanwhile tokens that need the keys are refused"
        return {"type": CONDITION, "status": "False", "reason": reason, "message": message}

    def _file(self, source: KeySource) -> Path:
        digest = hashlib.sha256(f"{source.discovers} {source.timeout} {source.url}".encode())
        return self.directory / f"{digest.hexdigest()}.json"


def _read(file: Path) -> str:
    """The key set of before; "" without one."""
    try:
        return read_keys(file.read_bytes()).document
    except FileNotFoundError:
        return ""
    except (OSError, MalformedKeys) as error:
        _log.warning("%s: %s", file, error)
        return ""


def _write(file: Path, document: str) -> None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(file, document, PRIVATE)
    except OSError as error:
        _log.error("%s cannot be kept: %s", file, error)
