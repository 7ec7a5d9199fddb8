"""What is known of a log elsewhere than in it: from the control plane, or the database at rest."""

import sqlite3
from pathlib import Path
from typing import Final

import msgspec

from marline.store.audit.records import Head
from marline.store.interface import Unavailable

PATH: Final = "/marline/v1/audit/head"
REQUESTS_PATH: Final = "/marline/v1/audit/requests/head"
CHANGES: Final = "audit"
"""What the store calls the log of changes."""
REQUESTS: Final = "requests"
"""And that of requests."""


class Anchors(msgspec.Struct, frozen=True):
    """The head that the store has, and the number of the first record that must be there."""

    head: str
    floor: int


def anchors_at_rest(database: Path, log: str) -> Anchors:
    """From the store's file, which nobody has open. Raises `Unavailable`."""
    try:
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=0)
        try:
            rows = connection.execute(
                "SELECT key, value FROM meta WHERE key IN (?, ?)", (log, f"{log}_floor")
            )
            found = dict(rows.fetchall())
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise Unavailable(f"cannot read {database}: {error}") from error
    return Anchors(str(found.get(log, Head())), int(found.get(f"{log}_floor", 1)))
