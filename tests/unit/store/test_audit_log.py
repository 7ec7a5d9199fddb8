"""The audit log: what it says, and that nobody can change it unseen."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marline.store.audit.log import AuditLog, AuditSettings
from marline.store.audit.reading import files_of, records, verify
from marline.store.audit.records import (
    GENESIS,
    Author,
    Change,
    Draft,
    Head,
    Record,
    Target,
    differences,
    read,
)

ALICE = Author("alice", ("team",), "root")


def draft(name: str = "a", *changes: Change) -> Draft:
    return Draft(ALICE, "update", Target("", "Service", "default", name), changes)


def open_log(directory: Path, anchor: Head = Head(), *, file_bytes: int = 10**6, files: int = 10) -> AuditLog:  # noqa: B008
    settings = AuditSettings(directory, file_bytes, files, lambda: datetime(2026, 1, 2, tzinfo=UTC))
    return AuditLog(settings, anchor)


def test_a_record_says_who_did_what_when(tmp_path: Path) -> None:
    head = open_log(tmp_path).append([draft("a", Change("/spec/type", "x", None)), draft("b")])
    first, second = records(tmp_path, Record)
    assert (first.seq, first.user, first.groups, first.impersonated_by) == (1, "alice", ("team",), "root")
    assert (first.time, first.verb, str(first.target)) == (
        "2026-01-02T00:00:00.000000Z",
        "update",
        "Service default/a",
    )
    assert (first.changes, first.previous) == ((Change("/spec/type", "x", None),), GENESIS)
    assert (second.seq, second.previous) == (2, first.hash)
    assert head == Head(2, second.hash) == Head.parse(str(head))
    (file,) = files_of(tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    assert {"seq", "user", "hash"} <= json.loads(file.read_text().splitlines()[0]).keys()


def test_the_chain_goes_on_after_a_restart_and_over_files(tmp_path: Path) -> None:
    head = Head()
    for number in range(12):
        head = open_log(tmp_path, head, file_bytes=1000).append([draft(f"x{number}")])
    assert len(files_of(tmp_path)) > 1
    verdict = verify(tmp_path, [head], 1)
    assert (verdict.records, verdict.head, verdict.faults) == (12, head, ())


def test_the_oldest_files_are_let_go_and_that_is_no_fault(tmp_path: Path) -> None:
    log = open_log(tmp_path, file_bytes=1000, files=3)
    early = log.append([draft("first")])
    for number in range(60):
        log.append([draft(f"x{number}")])
    assert len(files_of(tmp_path)) == 3
    assert log.floor > 1
    verdict = verify(tmp_path, [log.head, early], log.floor)
    assert (verdict.head, verdict.faults) == (log.head, ())
    files_of(tmp_path)[0].unlink()
    assert "are missing" in verify(tmp_path, [log.head], log.floor).faults[0].what


def test_half_a_record_that_a_crash_has_left_is_dropped(tmp_path: Path) -> None:
    head = open_log(tmp_path).append([draft()])
    with files_of(tmp_path)[0].open("ab") as file:
        file.write(b'{"seq":2,"ti')
    head = open_log(tmp_path, head).append([draft("b")])
    assert verify(tmp_path, [head], 1).faults == ()


def _without(number: int) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: lines[:number] + lines[number + 1 :]


def _edited(old: bytes, new: bytes) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: [line.replace(old, new) for line in lines]


def _rehashed(lines: list[bytes]) -> list[bytes]:
    """One record written anew, with a hash that is right for it."""
    import hashlib

    body = lines[1].replace(b"alice", b"mallory")[: -len(',"hash":""}') - 64] + b"}"
    digest = hashlib.sha256(body).hexdigest()
    return [lines[0], body[:-1] + f',"hash":"{digest}"}}'.encode(), *lines[2:]]


@pytest.mark.parametrize(
    "tamper",
    [
        *(_without(number) for number in range(4)),
        lambda lines: lines[:2],
        lambda lines: [],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [*lines, lines[-1]],
        lambda lines: [lines[0], lines[0], *lines[1:]],
        lambda lines: [*lines[:2], b"", *lines[2:]],
        lambda lines: [lines[0] + b" ", *lines[1:]],
        _edited(b"alice", b"mallory"),
        _edited(b'"Service"', b'"Secret"'),
        _rehashed,
    ],
)
def test_any_removal_or_edit_is_found(tmp_path: Path, tamper: Callable[[list[bytes]], list[bytes]]) -> None:
    head = open_log(tmp_path).append([draft(f"x{number}") for number in range(4)])
    (file,) = files_of(tmp_path)
    lines = file.read_bytes().splitlines()
    assert verify(tmp_path, [head], 1).faults == ()
    file.write_bytes(b"".join(line + b"\n" for line in tamper(lines)))
    assert verify(tmp_path, [head], 1).faults


@given(st.integers(0, 3000), st.integers(1, 255))
def test_any_flipped_byte_of_a_record_is_found(position: int, mask: int) -> None:
    from marline.store.audit.records import chained

    line, _ = chained(draft("a", Change("/x", 1, 2)), Head(), "2026-01-02T00:00:00Z")
    changed = bytearray(line)
    changed[position % len(line)] ^= mask
    with pytest.raises(ValueError, match=r"hash|record|[Jj][Ss][Oo][Nn]|UTF"):
        read(bytes(changed), Record)


def test_a_log_that_was_rewritten_whole_does_not_have_the_heads_that_were_kept(tmp_path: Path) -> None:
    kept = open_log(tmp_path / "true").append([draft("a"), draft("b")])
    open_log(tmp_path / "forged").append([draft("a"), draft("c"), draft("d")])
    assert verify(tmp_path / "forged").faults == ()
    assert "not the one whose hash was kept" in verify(tmp_path / "forged", [kept]).faults[0].what


def test_a_log_that_was_cut_off_goes_on_and_shows_the_gap(tmp_path: Path) -> None:
    head = open_log(tmp_path).append([draft(f"x{number}") for number in range(4)])
    (file,) = files_of(tmp_path)
    file.write_bytes(b"".join(line + b"\n" for line in file.read_bytes().splitlines()[:2]))
    head = open_log(tmp_path, head).append([draft("y")])
    assert head.seq == 5
    assert "is record 5; expected 3" in verify(tmp_path, [head], 1).faults[0].what


OBJECT: dict[str, Any] = {
    "apiVersion": "v1", "kind": "Service",
    "metadata": {"name": "a", "resourceVersion": "1", "managedFields": []},
    "spec": {"type": "ClusterIP", "a/b": 1},
}  # fmt: skip


def test_a_difference_is_said_field_by_field_without_what_the_server_keeps() -> None:
    new = OBJECT | {
        "spec": {"type": "NodePort", "c~d": [1]},
        "metadata": {"name": "a", "resourceVersion": "2"},
    }
    found = {change.path: change for change in differences(OBJECT, new)}
    assert found["/spec/type"] == Change("/spec/type", "ClusterIP", "NodePort")
    assert found["/spec/a~1b"] == Change("/spec/a~1b", 1)
    assert found["/spec/c~0d"] == Change("/spec/c~0d", new=[1])
    assert len(found) == 3
    assert differences(OBJECT, OBJECT) == ()
    lists = ({"spec": [{"a": 1}, {"b": 2}]}, {"spec": [{"a": 1}, {"b": 3}]}, {"spec": [{"a": 1}]})
    assert differences(lists[0], lists[1]) == (Change("/spec/1/b", 2, 3),)
    assert differences(lists[0], lists[2]) == (Change("/spec", lists[0]["spec"], lists[2]["spec"]),)


def test_values_of_secrets_are_in_no_record() -> None:
    last = {"kubectl.kubernetes.io/last-applied-configuration": '{"data":{"k":"aHVudGVyMg=="}}'}
    secret = {"kind": "Secret", "metadata": {"name": "s", "annotations": last}, "data": {"k": "aHVudGVyMg=="}}
    changed = secret | {"data": {"k": "aHVudGVyMw==", "l": "bmV3"}}
    for old, new in (
        (None, secret),
        (secret, changed),
        (changed, secret),
        (secret, None),
        (secret, secret | {"data": {}}),
    ):
        found = differences(old, new)
        assert found
        text = repr(found)
        assert not any(value in text for value in ("aHVudGVy", "bmV3"))
        assert "'k'" in text or "/data" in text
