"""The audit logs as Parquet tables, for tools that query such files. Needs `pyarrow` (`marline[parquet]`).

A row is a record; what differs, or has names of its own, is one column of JSON. The chain can be checked
with JSON Lines only, since the hashes are of those lines.
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
from marline.store.audit.requests import RequestRecord

_TEXT: Final = pa.string()
_NUMBER: Final = pa.int64()
_TIME: Final = pa.timestamp("us", tz="UTC")
_CHANGES: Final = pa.schema(
    [
        pa.field("seq", _NUMBER, nullable=False),
        pa.field("time", _TIME, nullable=False),
        pa.field("user", _TEXT), pa.field("groups", pa.list_(_TEXT)), pa.field("impersonated_by", _TEXT),
        pa.field("verb", _TEXT), pa.field("outcome", _TEXT), pa.field("message", _TEXT),
        pa.field("group", _TEXT), pa.field("kind", _TEXT), pa.field("namespace", _TEXT),
        pa.field("name", _TEXT), pa.field("path", _TEXT), pa.field("changes", _TEXT),
        pa.field("previous", _TEXT), pa.field("hash", _TEXT),
    ]
)  # fmt: skip
_TEXTS: Final = (
    "kind", "id", "source", "address", "destination", "method", "host", "path", "details", "flags", "rule",
    "decided_by", "previous", "hash",
)  # fmt: skip
_NUMBERS: Final = ("seq", "port", "status", "received", "sent", "duration")
_NAMED: Final = ("headers", "parameters")
_REQUESTS: Final = pa.schema(
    [
        pa.field("time", _TIME, nullable=False),
        *(pa.field(name, _NUMBER) for name in _NUMBERS),
        *(pa.field(name, _TEXT) for name in (*_TEXTS, *_NAMED)),
    ]
)
_ROWS: Final = 10_000
"""In a row group, and in memory."""


def write_changes(records: Iterable[Record], file: Path) -> None:
    """Raises OSError."""
    _write((dict(_columns(record)) for record in records), _CHANGES, file)


def write_requests(records: Iterable[RequestRecord], file: Path) -> None:
    """Raises OSError."""
    _write(map(_request, records), _REQUESTS, file)


def _write(rows: Iterator[dict[str, Any]], schema: Any, file: Path) -> None:
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while batch := list(islice(rows, _ROWS)):
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))


def _request(record: RequestRecord) -> dict[str, Any]:
    return {
        "time": datetime.fromisoformat(record.time),
        **{name: getattr(record, name) for name in (*_NUMBERS, *_TEXTS)},
        **{name: msgspec.json.encode(getattr(record, name)).decode() for name in _NAMED},
    }


def _columns(record: Record) -> Iterator[tuple[str, Any]]:
    for name in ("seq", "user", "impersonated_by", "verb", "outcome", "message", "previous", "hash"):
        yield name, getattr(record, name)
    for name in ("group", "kind", "namespace", "name", "path"):
        yield name, getattr(record.target, name)
    yield "time", datetime.fromisoformat(record.time)
    yield "groups", list(record.groups)
    yield "changes", msgspec.json.encode(record.changes).decode()
