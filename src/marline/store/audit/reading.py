"""Reads a log of chained records, and tells whether it is whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from marline.store.audit.records import GENESIS, Head, Link, Read, read

_TAIL_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Fault:
    """A place where the chain is broken."""

    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a log is found to be."""

    records: int
    head: Head
    faults: tuple[Fault, ...]


def files_of(directory: Path) -> tuple[Path, ...]:
    """The log's files, the oldest first."""
    return tuple(sorted(directory.glob("[0-9]*.jsonl")))


def first_seq(files: Sequence[Path]) -> int:
    """The number of the first record that is there."""
    return int(files[0].stem)


def last_head(files: Sequence[Path]) -> Head:
    """The head as the last line says it; whether it is right, `verify` tells."""
    for file in reversed(files):
        line = _last_line(file)
        if line:
            try:
                record = read(line, Link)
            except ValueError:
                continue
            return Head(record.seq, record.hash)
    return Head()


def _last_line(file: Path) -> bytes:
    size, step = file.stat().st_size, _TAIL_BYTES
    with file.open("rb") as stream:
        while True:
            stream.seek(max(0, size - step))
            lines = stream.read().splitlines()
            if len(lines) > 1 or step >= size:
                return lines[-1] if lines else b""
            step *= 8


def records(directory: Path, kind: type[Read]) -> Iterator[Read]:
    """All records that can be read, the oldest first."""
    for file in files_of(directory):
        yield from records_in(file, kind)


def records_in(file: Path, kind: type[Read]) -> Iterator[Read]:
    with file.open("rb") as stream:
        for line in stream:
            try:
                yield read(line.rstrip(b"\n"), kind)
            except ValueError:
                continue


def verify(directory: Path, anchors: Sequence[Head] = (), floor: int | None = None) -> Verdict:
    """Walk the whole chain. `anchors` are heads that were kept elsewhere: each record that they name must be
    there with that hash. `floor` is the number of the first record that must be there, if that is known."""
    faults: list[Fault] = []
    wanted = {anchor.seq: anchor.hash for anchor in anchors if anchor.seq}
    head, count = None, 0
    for file in files_of(directory):
        with file.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                where = f"{file.name}:{number}"
                try:
                    record = read(line.rstrip(b"\n"), Link)
                except ValueError as error:
                    faults.append(Fault(where, str(error)))
                    continue
                faults += _in_place(record, head, where)
                if head is None and floor is not None and record.seq > floor:
                    faults.append(Fault(where, f"is record {record.seq}; those from {floor} on are missing"))
                if wanted.pop(record.seq, record.hash) != record.hash:
                    faults.append(Fault(where, f"record {record.seq} is not the one whose hash was kept"))
                head, count = Head(record.seq, record.hash), count + 1
    for seq in sorted(wanted):
        # What retention has removed is no fault.
        if floor is None or seq >= floor:
            faults.append(Fault(str(directory), f"record {seq}, whose hash was kept, is missing"))
    return Verdict(count, head or Head(), tuple(faults))


def _in_place(record: Link, before: Head | None, where: str) -> Iterator[Fault]:
    if before is None:
        if record.seq == 1 and record.previous != GENESIS:
            yield Fault(where, "is the first record, and refers to one before")
        return
    if record.seq != before.seq + 1:
        yield Fault(where, f"is record {record.seq}; expected {before.seq + 1}")
    elif record.previous != before.hash:
        yield Fault(where, f"record {record.seq} does not follow the record before it")
