"""Objects and their recent changes on disk.

One table holds what is, one the last changes (for watches that resume). Both are written in one
transaction, in WAL mode with `synchronous=FULL`: when `append` returns, the changes survive `kill -9`
and power loss (sqlite.org, "PRAGMA synchronous"). The file is opened exclusively, since the rest of the
store keeps everything in memory and must be its only writer.

All methods block; they are called from one thread at a time.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from marline.api.resource import Ref
from marline.store.audit.anchors import CHANGES
from marline.store.audit.records import Head
from marline.store.interface import Unavailable

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS objects (
  grp TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
  rv INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (grp, kind, namespace, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (
  rv INTEGER PRIMARY KEY, type TEXT NOT NULL,
  grp TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
  body BLOB NOT NULL, old_labels BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_FORMAT: Final = 1
"""`PRAGMA user_version` of this layout; a file with another one is refused, not guessed at."""


@dataclass(frozen=True, slots=True)
class Row:
    """One change as it is on disk: `type` is ADDED, MODIFIED or DELETED; bodies are JSON."""

    rv: int
    type: str
    ref: Ref
    body: bytes
    old_labels: bytes


class Database:
    """The file. Raises `Unavailable` where SQLite fails."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives its -wal file the mode of the main file, so one creation with 0600 is enough.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        with self._failures("open"):
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
            self._prepare()

    def _prepare(self) -> None:
        connection = self._connection
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, _FORMAT):
            raise Unavailable(f"{self._path} has format {version}; this version of Marline reads {_FORMAT}")
        connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA};PRAGMA user_version={_FORMAT};COMMIT;")

    @contextlib.contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise Unavailable(f"cannot {what} {self._path}: {error}") from error

    def objects(self) -> list[tuple[Ref, int, bytes]]:
        """Everything that is, in no order."""
        with self._failures("read"):
            rows = self._connection.execute("SELECT grp, kind, namespace, name, rv, body FROM objects")
            return [(Ref(grp, kind, ns, name), rv, body) for grp, kind, ns, name, rv, body in rows]

    def changes(self) -> list[Row]:
        """The changes that are still known, oldest first."""
        with self._failures("read"):
            rows = self._connection.execute(
                "SELECT rv, type, grp, kind, namespace, name, body, old_labels FROM changes ORDER BY rv"
            )
            return [
                Row(rv, kind_of_change, Ref(grp, kind, ns, name), body, labels)
                for rv, kind_of_change, grp, kind, ns, name, body, labels in rows
            ]

    def resource_version(self) -> int:
        """The version of the last change, ever."""
        return self._number("rv")

    def floor(self) -> int:
        """Changes up to and including this version are forgotten."""
        return self._number("floor")

    def _number(self, key: str) -> int:
        with self._failures("read"):
            row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
            return int(row[0]) if row else 0

    def audit_head(self, log: str = CHANGES) -> Head:
        """The last record of an audit log, as it was when this was written last."""
        with self._failures("read"):
            row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (log,)).fetchone()
            return Head.parse(row[0]) if row else Head()

    def audit_anchors(self, log: str = CHANGES) -> tuple[Head, int]:
        """That, and the number of the first record that the log must have."""
        return self.audit_head(log), self._number(f"{log}_floor") or 1

    def anchor(self, log: str, head: Head, floor: int) -> None:
        """Keep the head of a log that tells of no changes."""
        with self._failures("write"), self._transaction() as connection:
            _anchor(connection, log, head, floor)

    def append(self, rows: Iterable[Row], audit: Head | None = None, audit_floor: int = 0) -> None:
        """Make these changes, all or none; returns when they are on disk. `audit` is the head of the audit
        log that tells of them."""
        with self._failures("write"), self._transaction() as connection:
            for row in rows:
                if row.type == "DELETED":
                    connection.execute(
                        "DELETE FROM objects WHERE grp = ? AND kind = ? AND namespace = ? AND name = ?",
                        row.ref,
                    )
                else:
                    connection.execute(
                        "INSERT OR REPLACE INTO objects (grp, kind, namespace, name, rv, body)"
                        " VALUES (?, ?, ?, ?, ?, ?)",
                        (*row.ref, row.rv, row.body),
                    )
                connection.execute(
                    "INSERT INTO changes (rv, type, grp, kind, namespace, name, body, old_labels)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (row.rv, row.type, *row.ref, row.body, row.old_labels),
                )
                connection.execute("INSERT OR REPLACE INTO meta VALUES ('rv', ?)", (row.rv,))
            if audit is not None:
                _anchor(connection, CHANGES, audit, audit_floor)

    def forget(self, floor: int) -> None:
        """Drop the changes up to and including version `floor`."""
        with self._failures("write"), self._transaction() as connection:
            connection.execute("DELETE FROM changes WHERE rv <= ?", (floor,))
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('floor', ?)", (floor,))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        with self._failures("close"):
            self._connection.close()


def _anchor(connection: sqlite3.Connection, log: str, head: Head, floor: int) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (log, str(head)))
    if floor:
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"{log}_floor", floor))
