"""`marline audit`: the logs of changes and of audited requests, and reports on the mesh."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from marline.cli.audit_report import report
from marline.cli.audit_requests import COLUMNS, RequestFilter
from marline.cli.exits import ExitCode, Failed
from marline.cli.mesh import open_api
from marline.cli.options import Settings, mesh_options, seconds
from marline.cli.output import Column, bad, dump, emit, good, output_option
from marline.node.errors import NotRunning
from marline.node.home import Home
from marline.store.audit.anchors import CHANGES, PATH, REQUESTS, REQUESTS_PATH, Anchors, anchors_at_rest
from marline.store.audit.reading import Verdict, files_of, records, verify
from marline.store.audit.records import Change, Head, Record
from marline.store.audit.requests import RequestRecord
from marline.store.interface import Unavailable

_SHOWN: Final = 40
"""Letters of a value in a table."""


@click.group()
def command() -> None:
    """Show who changed what, who called what, and what auditors ask about the mesh.

    Every change through the API is in a log of chained records, in files below data/audit of the mesh's
    directory; so is what was refused. Requests that an AuthorizationPolicy with action AUDIT matches are in
    a log of the same kind below data/requests: --requests.
    """


command.add_command(report)


_of_requests = click.option("--requests", is_flag=True, help="Of the log of requests, not that of changes.")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records are wanted; "" and None: all."""

    user: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    verb: str = ""
    since: str = ""
    """A time as records have it."""
    refused: bool = False

    def takes(self, record: Record) -> bool:
        target = record.target
        return (
            self.user in ("", record.user, record.impersonated_by)
            and self.kind.lower() in ("", target.kind.lower())
            and self.namespace in ("", target.namespace)
            and self.name in ("", target.name)
            and self.verb in ("", record.verb)
            and record.time >= self.since
            and (not self.refused or record.outcome == "refused")
        )


@command.command()
@click.option("--user", default="", help="Only what this user did, or somebody who acted as this user.")
@click.option("--kind", default="", help="Only of resources of this kind, such as VirtualService.")
@click.option("-n", "--namespace", default="", help="Only of this namespace.")
@click.option("--name", default="", help="Only of resources of this name.")
@click.option("--verb", default="", help="Only this: create, update, delete, sign, join and others.")
@click.option("--since", metavar="DURATION", callback=seconds, help="Only of the time since then: 24h.")
@click.option("--refused", is_flag=True, help="Only what was refused.")
@click.option("--requests", is_flag=True, help="Show requests and connections that AUDIT policies matched.")
@click.option("--source", metavar="IDENTITY", help="Of requests: only of this caller: NAMESPACE/ACCOUNT.")
@click.option("--destination", metavar="IDENTITY", help="Of requests: only of those to this identity.")
@click.option("--path", help="Of requests: only of this path, or with a * at the end of all below.")
@click.option("--status", help="Of requests: only with this status: 403, or 4xx.")
@output_option()
@mesh_options
@click.pass_obj
def query(
    settings: Settings, /, since: float | None, output: str, requests: bool, source: str | None,
    destination: str | None, path: str | None, status: str | None, **wanted: Any,
) -> None:  # fmt: skip
    """Show records, the oldest first."""
    earliest = (datetime.now(UTC) - timedelta(seconds=since)).isoformat() if since else ""
    of_requests = {"source": source, "destination": destination, "path": path, "status": status}
    given = of_requests if not requests else wanted
    for name, value in given.items():
        if value:
            raise click.UsageError(f"--{name} is {'not for' if requests else 'only for'} --requests")
    if requests:
        asked = RequestFilter(**{name: value or "" for name, value in of_requests.items()}, since=earliest)
        found = [record for record in _requests(settings.home) if asked.takes(record)]
        emit(found, COLUMNS, output, empty="there is no such record", plain=msgspec.to_builtins)
        return
    chosen = Filter(**wanted, since=earliest)
    changes = [record for record in _changes(settings.home) if chosen.takes(record)]
    emit(changes, _COLUMNS, output, empty="there is no such record", plain=msgspec.to_builtins)


@command.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path), default="-")
@click.option(
    "--format", "form", type=click.Choice(("jsonl", "parquet")), default="jsonl", show_default=True,
    help="parquet needs pyarrow: pip install marline[parquet].",
)  # fmt: skip
@_of_requests
@mesh_options
@click.pass_obj
def export(settings: Settings, file: Path, form: str, requests: bool) -> None:
    """Write all records to FILE; JSON Lines also to the standard output.

    JSON Lines are those of the log, so that whoever has them can check the chain, too.
    """
    home = settings.home
    lines = _lines(home.requests if requests else home.audit)
    if form == "parquet":
        _export_table(home, file, requests=requests)
    elif str(file) == "-":
        for line in lines:
            sys.stdout.buffer.write(line)
    else:
        with file.open("wb") as stream:
            stream.writelines(lines)


def _export_table(home: Home, file: Path, *, requests: bool) -> None:
    """Raises `Failed`."""
    if str(file) == "-":
        raise Failed("a Parquet table is written to a file; name one")
    try:
        from marline.store.audit import parquet  # optional, and large
    except ImportError as error:
        raise Failed(f"{error.name} is not there: pip install marline[parquet]") from error
    if requests:
        parquet.write_requests(_requests(home), file)
    else:
        parquet.write_changes(_changes(home), file)


@command.command()
@_of_requests
@mesh_options
@click.pass_obj
def head(settings: Settings, requests: bool) -> None:
    """Print number and hash of the last record.

    Keep it elsewhere: `marline audit verify --head` then finds whether anything up to it has been changed
    since, even by somebody who could write everything on this machine.
    """
    click.echo(asyncio.run(_anchors(settings.home, REQUESTS if requests else CHANGES)).head)


@command.command(name="verify")
@click.option("--head", "heads", multiple=True, metavar="HEAD", help="What `marline audit head` has printed.")
@click.option(
    "--requests-head", "request_heads", multiple=True, metavar="HEAD",
    help="What `marline audit head --requests` has printed.",
)  # fmt: skip
@output_option()
@mesh_options
@click.pass_obj
def verify_command(
    settings: Settings, heads: Sequence[str], request_heads: Sequence[str], output: str
) -> int:
    """Tell whether records have been removed or changed, of changes and of requests.

    Each record has the hash of the one before, and the last one's is kept in the mesh's store. Exit code 1:
    something is wrong.
    """
    home = settings.home
    found = {
        "changes": _verified(home, CHANGES, home.audit, heads),
        "requests": _verified(home, REQUESTS, home.requests, request_heads),
    }
    if output != "table":
        dump(found, output)
    else:
        _tell(found["changes"], "records")
        if found["requests"] != Verdict(0, Head(), ()):
            _tell(found["requests"], "records of requests")
    broken = any(verdict.faults for verdict in found.values())
    return ExitCode.FAILED if broken else ExitCode.OK


def _verified(home: Home, log: str, directory: Path, heads: Sequence[str]) -> Verdict:
    """Raises `Failed` and `UsageError`."""
    anchors = asyncio.run(_anchors(home, log))
    try:
        kept = [Head.parse(text) for text in (anchors.head, *heads)]
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return verify(_there(directory), kept, anchors.floor)


def _tell(verdict: Verdict, what: str) -> None:
    for fault in verdict.faults:
        click.echo(f"{bad('broken')} {fault.where}: {fault.what}")
    if not verdict.faults:
        click.echo(f"{good('whole')}: {verdict.records} {what}, the last is {verdict.head.seq}")


def _there(directory: Path) -> Path:
    """Raises `Failed`."""
    if not directory.is_dir():
        raise Failed(f"there is no audit log at {directory}")
    return directory


def _changes(home: Home) -> Iterator[Record]:
    return records(_there(home.audit), Record)


def _requests(home: Home) -> Iterator[RequestRecord]:
    return records(_there(home.requests), RequestRecord)


def _lines(directory: Path) -> Iterator[bytes]:
    for file in files_of(_there(directory)):
        with file.open("rb") as stream:
            yield from stream


async def _anchors(home: Home, log: str) -> Anchors:
    """Of the running control plane, else of the store at rest."""
    try:
        async with open_api(home) as store:
            answer = await store.request("GET", PATH if log == CHANGES else REQUESTS_PATH)
    except NotRunning:
        return anchors_at_rest(home.database, log)
    try:
        return msgspec.json.decode(answer.body, type=Anchors)
    except msgspec.DecodeError as error:
        raise Unavailable(f"the control plane's answer cannot be read: {error}") from error


def _what(record: Record) -> str:
    if record.outcome == "refused":
        return bad(record.message.splitlines()[0])
    shown = [_change(change) for change in record.changes if change.path]
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")


def _change(change: Change) -> str:
    old, new = (_value(value) for value in (change.old, change.new))
    return f"{change.path}: {old} → {new}"


def _value(value: Any) -> str:
    if value is msgspec.UNSET:
        return "∅"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _who(record: Record) -> str:
    return f"{record.user} (by {record.impersonated_by})" if record.impersonated_by else record.user


_COLUMNS: Final = (
    Column[Record]("TIME", lambda item: item.time[:19] + "Z"),
    Column[Record]("USER", _who),
    Column[Record]("VERB", lambda item: item.verb),
    Column[Record]("WHAT", lambda item: item.target),
    Column[Record]("CHANGES", _what),
)
