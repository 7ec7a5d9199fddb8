"""Keeps the log of audited requests: what the Envoys of this machine have written, chained, once a second.

Envoys write to files and wait for nobody. While no control plane runs, the files grow; nothing is lost.
"""

import asyncio
import logging
from pathlib import Path
from typing import Final

from marline.compile.authorization_logs import AUDIT_FILE
from marline.node import audit_spool
from marline.node.admin import Admin
from marline.node.errors import AdminError
from marline.node.home import Home, MeshConfig, WorkloadDirectory
from marline.store.audit.anchors import REQUESTS
from marline.store.audit.intake import Intake
from marline.store.audit.log import AuditLog, AuditSettings
from marline.store.embedded.state import State
from marline.store.interface import Unavailable

_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class RequestLog:
    """The log below one home, whose head the store keeps."""

    def __init__(self, home: Home, state: State, intake: Intake) -> None:
        self._home, self._state, self._intake = home, state, intake

    @classmethod
    async def open(cls, home: Home, config: MeshConfig, state: State) -> "RequestLog":
        """Raises OSError and `Unavailable`."""
        settings = AuditSettings(home.requests, config.audit_file_bytes, config.audit_request_files)
        head, _ = await state.audit_anchors(REQUESTS)
        log = await asyncio.to_thread(AuditLog, settings, head)
        return cls(home, state, Intake(log, home.requests))

    async def run(self) -> None:
        """For ever. What cannot be done is tried again: the files are still there."""
        while True:
            try:
                await self.once()
            except (OSError, Unavailable) as error:
                _log.error("audited requests cannot be brought into their log: %s", error)
            await asyncio.sleep(_SECONDS)

    async def once(self) -> None:
        """Bring what is whole into the log. Raises OSError and `Unavailable`."""
        await self._collect()
        for file in await asyncio.to_thread(audit_spool.whole, self._home):
            await asyncio.to_thread(self._intake.take, file)
            await self._state.anchor(REQUESTS, self._intake.log.head, self._intake.log.floor)
            await asyncio.to_thread(self._intake.done, file)

    async def _collect(self) -> None:
        """Take what running Envoys have written, and have them write to another file. Until they do (Envoy's
        documentation, "Administration interface", `/reopen_logs`), the one that was taken is open."""
        for short_id in await asyncio.to_thread(self._taken):
            try:
                await Admin(self._home.workload(short_id).admin_socket).post("/reopen_logs")
            except AdminError as error:
                # It has ended, or it will answer the next time.
                _log.info("an Envoy was not told to write to another file: %s", error)

    def _taken(self) -> tuple[str, ...]:
        """The workloads whose files are taken, and still open."""
        waiting = audit_spool.still_open(self._home)
        for written in self._home.workloads.glob(f"*/{AUDIT_FILE}"):
            self._moved_on(WorkloadDirectory(written.parent), waiting)
        for short_id in [name for name in waiting if not self._home.workload(name).path.is_dir()]:
            audit_spool.close(waiting.pop(short_id))
        return tuple(waiting)

    def _moved_on(self, directory: WorkloadDirectory, waiting: dict[str, Path]) -> None:
        """An Envoy has a file: the one that was taken before is whole, or this one is to be taken."""
        before = waiting.pop(directory.path.name, None)
        if before is not None:
            audit_spool.close(before)
        elif (file := audit_spool.take(self._home, directory.path)) is not None:
            waiting[directory.path.name] = file
