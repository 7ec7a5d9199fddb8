"""Which records of requests a query means, and the table that they are exported as."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from marline.cli.audit_requests import RequestFilter, short
from marline.store.audit.requests import RequestRecord

CLIENT, ECHO = "spiffe://cluster.local/ns/shop/sa/client", "spiffe://cluster.local/ns/shop/sa/echo"
RECORD = RequestRecord(
    time="2026-01-02T03:04:05.678Z", kind="request", id="x", source=CLIENT, destination=ECHO, method="GET",
    path="/a/b", status=403, headers={"a": "b"}, seq=7, previous="p", hash="h",
)  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (RequestFilter(), True),
        (RequestFilter(source="shop/client", destination=ECHO), True),
        (RequestFilter(source="shop/echo"), False),
        (RequestFilter(source="client"), False),
        (RequestFilter(destination=CLIENT), False),
        (RequestFilter(path="/a"), False),
        (RequestFilter(path="/a/b"), True),
        (RequestFilter(path="/a*"), True),
        (RequestFilter(status="403"), True),
        (RequestFilter(status="4xx"), True),
        (RequestFilter(status="40"), False),
        (RequestFilter(status="2xx"), False),
        (RequestFilter(since="2026-01-02T03:04:06"), False),
        (RequestFilter(since="2026-01-02T03:04:05"), True),
    ],
)
def test_all_that_is_asked_for_must_fit(wanted: RequestFilter, taken: bool) -> None:
    assert wanted.takes(RECORD) is taken


def test_identities_of_no_mesh_are_shown_whole() -> None:
    assert (short(CLIENT), short("spiffe://x/y"), short("")) == ("shop/client", "spiffe://x/y", "")


def test_a_table_has_all_that_a_record_says(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    from marline.store.audit.parquet import write_requests

    write_requests([RECORD], tmp_path / "a.parquet")
    (row,) = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert row["time"] == datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    assert row["headers"] == '{"a":"b"}'
    missing = [name for name in RECORD.__struct_fields__ if name not in row]
    assert not missing
    assert {name: row[name] for name in ("source", "status", "seq", "hash")} == {
        "source": CLIENT, "status": 403, "seq": 7, "hash": "h",
    }  # fmt: skip
