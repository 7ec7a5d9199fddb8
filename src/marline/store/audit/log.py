"""Writes a log of chained records: JSON Lines, private files, on disk when they are said to be.

A file is named after its first record's number. When it is large enough the next one is begun; the chain goes
on from file to file. The oldest files go when there are too many; the number of the first record that is
still there is kept in the store, so that nobody else can make them go.

All methods block; they are called from one thread at a time.
"""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from marline.store.audit.reading import files_of, first_seq, last_head
from marline.store.audit.records import Entry, Head, chained

FILE_BYTES: Final = 16 * 1024 * 1024
FILES: Final = 64

_log = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """Where the log is, and how much of it is kept."""

    directory: Path
    file_bytes: int = FILE_BYTES
    files: int = FILES
    clock: Callable[[], datetime] = _now


class AuditLog:
    """The log in one directory. Raises OSError."""

    def __init__(self, settings: AuditSettings, anchor: Head) -> None:
        """`anchor` is the head that the store has. If the files end before it, somebody has cut them off:
        the chain goes on from there all the same, and whoever verifies it finds the gap."""
        self._settings = settings
        settings.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = files_of(settings.directory)
        if files:
            _drop_torn_end(files[-1])
        found = last_head(files)
        if found.seq < anchor.seq:
            _log.error(
                "the audit log in %s ends at record %d; it had %d", settings.directory, found.seq, anchor.seq
            )
            files = ()
        self.head = max(found, anchor, key=lambda head: head.seq)
        self.floor = 0
        """The number of the first record that is kept, once this log has removed what was before; else 0."""
        self._file = files[-1] if files else None

    def append(self, entries: Sequence[Entry]) -> Head:
        """Returns when they are on disk, with the new head."""
        time = self._settings.clock().isoformat(timespec="microseconds").replace("+00:00", "Z")
        head, lines = self.head, []
        for entry in entries:
            line, head = chained(entry, head, time)
            lines.append(line + b"\n")
        self._write(b"".join(lines))
        self.head = head
        return head

    def _write(self, content: bytes) -> None:
        if self._file is None or self._file.stat().st_size >= self._settings.file_bytes:
            self._file = self._settings.directory / f"{self.head.seq + 1:012d}.jsonl"
            self._retire()
        descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            try:
                view = memoryview(content)
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fsync(descriptor)
            except OSError:
                # Half a record must not stand before the next one.
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        if not size:
            _sync_directory(self._settings.directory)

    def _retire(self) -> None:
        """Make room for one more file."""
        files = files_of(self._settings.directory)
        surplus = files[: max(0, len(files) + 1 - self._settings.files)]
        for file in surplus:
            file.unlink()
        if surplus:
            left = files[len(surplus) :]
            self.floor = first_seq(left) if left else self.head.seq + 1


def _drop_torn_end(file: Path) -> None:
    """What a crash has left of a record that was never whole: nothing of it was done."""
    content = file.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(file, whole)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
