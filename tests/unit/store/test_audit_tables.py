"""The audit log as a Parquet table."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from marline.store.audit.log import AuditLog, AuditSettings
from marline.store.audit.reading import records
from marline.store.audit.records import Author, Change, Draft, Head, Record, Target

pq = pytest.importorskip("pyarrow.parquet")


def test_every_record_is_a_row_with_all_that_it_says(tmp_path: Path) -> None:
    from marline.store.audit.parquet import write_changes

    author, target = Author("alice", ("team",), "root"), Target("", "Service", "default", "a")
    change = Change("/spec/type", "x", {"y": [1]})
    settings = AuditSettings(tmp_path / "log", clock=lambda: datetime(2026, 1, 2, 3, tzinfo=UTC))
    refused = Draft(author, "post", Target(path="/x"), outcome="refused", message="no")
    head = AuditLog(settings, Head()).append([Draft(author, "update", target, (change,)), refused])
    write_changes(records(tmp_path / "log", Record), tmp_path / "log.parquet")
    first, second = pq.read_table(tmp_path / "log.parquet").to_pylist()
    assert (first["seq"], first["user"], first["groups"], first["impersonated_by"]) == (
        1,
        "alice",
        ["team"],
        "root",
    )
    assert first["time"] == datetime(2026, 1, 2, 3, tzinfo=UTC)
    assert (first["kind"], first["namespace"], first["name"]) == ("Service", "default", "a")
    assert json.loads(first["changes"]) == [{"path": "/spec/type", "old": "x", "new": {"y": [1]}}]
    assert (second["outcome"], second["message"], second["path"]) == ("refused", "no", "/x")
    assert (second["previous"], second["hash"]) == (first["hash"], head.hash)


def test_an_empty_log_is_an_empty_table(tmp_path: Path) -> None:
    from marline.store.audit.parquet import write_changes

    write_changes([], tmp_path / "log.parquet")
    assert pq.read_table(tmp_path / "log.parquet").num_rows == 0
