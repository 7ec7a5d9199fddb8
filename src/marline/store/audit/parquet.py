"""The audit log as a Parquet table, for tools that query such files. Needs `pyarrow` (`marline[parquet]`).

A row is a record; what differs is one column of JSON. The chain can be checked with JSON Lines only, since
the hashes are of those lines.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from marline.store.audit.records import Record

_TEXT: Final = pa.string()
SCHEMA: Final = pa.schema(
    [
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("user", _TEXT), pa.field("groups", pa.list_(_TEXT)), pa.field("impersonated_by", _TEXT),
        pa.field("verb", _TEXT), pa.field("outcome", _TEXT), pa.field("message", _TEXT),
        pa.field("group", _TEXT), pa.field("kind", _TEXT), pa.field("namespace", _TEXT),
        pa.field("name", _TEXT), pa.field("path", _TEXT), pa.field("changes", _TEXT),
        pa.field("previous", _TEXT), pa.field("hash", _TEXT),
    ]
)  # fmt: skip
_ROWS: Final = 10_000
"""In a row group, and in memory."""


def write(records: Iterable[Record], file: Path) -> None:
    """Raises OSError."""
    with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        rows = map(_row, records)
        while batch := list(islice(rows, _ROWS)):
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=SCHEMA))


def _row(record: Record) -> dict[str, Any]:
    return dict(_columns(record))


def _columns(record: Record) -> Iterator[tuple[str, Any]]:
    for name in ("seq", "user", "impersonated_by", "verb", "outcome", "message", "previous", "hash"):
        yield name, getattr(record, name)
    for name in ("group", "kind", "namespace", "name", "path"):
        yield name, getattr(record.target, name)
    yield "time", datetime.fromisoformat(record.time)
    yield "groups", list(record.groups)
    yield "changes", msgspec.json.encode(record.changes).decode()
