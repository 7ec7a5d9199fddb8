"""Takes what proxies have written of audited requests into the log, each line once.

A file that no proxy writes to any more is read, its lines are appended to the chain, the new head is kept in
the store, and only then does the file go. If something fails between, lines of it are already in the chain:
they are known by their records' IDs.
"""

import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from marline.store.audit.log import AuditLog
from marline.store.audit.reading import files_of, records_in
from marline.store.audit.requests import RequestEntry, RequestRecord, written

_LINES: Final = 2000
"""Appended at once, and in memory."""

_log = logging.getLogger(__name__)


class Intake:
    """All methods block; they are called from one thread at a time. Raises OSError."""

    def __init__(self, log: AuditLog, directory: Path) -> None:
        """`directory`: the log's."""
        self._log, self._directory = log, directory
        self._resumes = True
        """It may be that some lines are in the chain already."""

    @property
    def log(self) -> AuditLog:
        return self._log

    def take(self, file: Path) -> None:
        """Have all its lines in the log, on disk. The file stays, for `done`."""
        known = self._known_since(file) if self._resumes else frozenset()
        self._resumes = True
        entries = (entry for entry in _entries(file) if entry.id not in known)
        while batch := list(islice(entries, _LINES)):
            self._log.append(batch)

    def done(self, file: Path) -> None:
        """What is in the log is known to be there."""
        file.unlink()
        self._resumes = False

    def _known_since(self, file: Path) -> frozenset[str]:
        """The IDs of records that may be of this file: those written since it was."""
        since = file.stat().st_mtime
        files = (item for item in files_of(self._directory) if item.stat().st_mtime >= since)
        return frozenset(record.id for item in files for record in records_in(item, RequestRecord))


def _entries(file: Path) -> Iterator[RequestEntry]:
    with file.open("rb") as stream:
        yield from _readable(stream, file)


def _readable(lines: Iterable[bytes], file: Path) -> Iterator[RequestEntry]:
    for number, line in enumerate(lines, 1):
        try:
            yield written(line)
        except ValueError as error:
            # A proxy that was killed leaves half a line; there is nothing more to be had of it.
            _log.error("%s:%d is no record of a request: %s", file, number, error)
