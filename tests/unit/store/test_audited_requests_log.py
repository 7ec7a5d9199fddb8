"""What proxies have written of audited requests gets into the log: each line once, whatever fails."""

import json
import os
from pathlib import Path

import pytest

from marline.store.audit.intake import Intake
from marline.store.audit.log import AuditLog, AuditSettings
from marline.store.audit.reading import records, verify
from marline.store.audit.records import REDACTED, Head
from marline.store.audit.requests import RequestRecord, written


def line(number: int, **more: object) -> bytes:
    fields = {"time": "2026-01-02T03:04:05.678Z", "kind": "request", "id": f"id-{number}", "flags": "-"}
    return json.dumps({**fields, "path": f"/{number}", "status": 200, "decidedBy": None, **more}).encode()


def spooled(directory: Path, *lines: bytes, name: str = "0.whole") -> Path:
    file = directory / name
    file.write_bytes(b"\n".join(lines) + b"\n")
    return file


def opened(directory: Path, anchor: Head = Head()) -> Intake:  # noqa: B008
    return Intake(AuditLog(AuditSettings(directory / "log"), anchor), directory / "log")


def paths(directory: Path) -> list[str]:
    return [record.path for record in records(directory / "log", RequestRecord)]


def test_lines_become_records_of_one_chain(tmp_path: Path) -> None:
    intake = opened(tmp_path)
    for number in (1, 3):
        file = spooled(tmp_path, line(number), line(number + 1))
        intake.take(file)
        intake.done(file)
        assert not file.exists()
    assert paths(tmp_path) == ["/1", "/2", "/3", "/4"]
    verdict = verify(tmp_path / "log", [intake.log.head], 1)
    assert (verdict.records, verdict.faults) == (4, ())


def test_a_crash_between_log_and_file_makes_no_record_twice(tmp_path: Path) -> None:
    file = spooled(tmp_path, line(1), line(2))
    opened(tmp_path).take(file)
    intake = opened(tmp_path)
    intake.take(file)
    intake.done(file)
    assert paths(tmp_path) == ["/1", "/2"]


def test_a_log_that_could_take_some_lines_only_goes_on_with_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marline.store.audit.intake._LINES", 2)
    intake, appended = opened(tmp_path), AuditLog.append
    file = spooled(tmp_path, *map(line, range(5)))

    def full(log: AuditLog, entries: list[object]) -> Head:
        if log.head.seq == 2:
            raise OSError(28, "No space left on device")
        return appended(log, entries)  # type: ignore[arg-type]

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr(AuditLog, "append", full)
        intake.take(file)
    assert paths(tmp_path) == ["/0", "/1"]
    intake.take(file)
    assert paths(tmp_path) == ["/0", "/1", "/2", "/3", "/4"]


def test_half_a_line_of_a_killed_proxy_costs_no_other_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    intake, file = opened(tmp_path), spooled(tmp_path, line(1), line(2)[:20])
    intake.take(file)
    assert paths(tmp_path) == ["/1"]
    assert f"{file}:2" in caplog.text


def test_records_that_are_older_than_the_file_are_not_read(tmp_path: Path) -> None:
    intake = opened(tmp_path)
    intake.take(spooled(tmp_path, line(1)))
    (log,) = (tmp_path / "log").glob("*.jsonl")
    os.utime(log, (1, 1))
    again = opened(tmp_path, intake.log.head)
    again.take(spooled(tmp_path, line(1)))
    assert paths(tmp_path) == ["/1", "/1"], "by the times they cannot be the same"


def test_of_what_is_redacted_a_record_says_that_it_was_there() -> None:
    found = written(
        line(
            1, headers={"a": "x", "b": None}, redactedHeaders={"c": "", "d": None},
            redactedParameters={"token": ""}, parameters=None,
        )
    )  # fmt: skip
    assert found.headers == {"a": "x", "c": REDACTED}
    assert found.parameters == {"token": REDACTED}
    assert (found.flags, found.decided_by) == ("", "")


@pytest.mark.parametrize("text", [b"", b"{}", b'{"time":1}', b"[1]", line(1)[:-1], line(1, status="200")])
def test_what_is_no_record_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        written(text)
