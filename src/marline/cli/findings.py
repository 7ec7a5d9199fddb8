"""Findings of `marline analyze` for people, for programs, and for code hosts (SARIF)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import click
import msgspec

from marline import __version__
from marline.analyze.findings import Finding, Severity
from marline.api.documents import Document
from marline.cli.output import bad, doubtful

_WORDS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "info"}
_LEVELS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
"""SARIF's names (OASIS SARIF 2.1.0, section 3.27.10)."""
_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """A finding and where it is."""

    code: str
    name: str
    severity: str
    resource: str
    path: str
    message: str
    why: str
    mend: str
    file: str = ""
    """Empty: the resource is in the running mesh."""
    line: int = 0
    """In the file; in the running mesh, of what `marline get KIND NAME -o yaml` prints."""

    @property
    def place(self) -> str:
        return f"{self.file or self.resource}:{self.line}"


def report(finding: Finding, document: Document) -> Report:
    """`document` has the resource, and the lines of its fields."""
    return Report(
        finding.code.code, finding.code.name, _WORDS[finding.code.severity], str(finding.ref), finding.path,
        finding.message, finding.code.why, finding.advice, document.file, document.line(finding.path),
    )  # fmt: skip


def text(reports: Iterable[Report]) -> str:
    """Three lines for each: what, why, what to do."""
    return "\n".join(_lines(item) for item in reports)


def _lines(item: Report) -> str:
    shown = {"error": bad("error"), "warning": doubtful("warning")}.get(item.severity, item.severity)
    return (
        f"{item.place}: {shown} [{item.code}] {item.resource} {item.path}: {item.message}\n"
        f"    {item.why}\n    {item.mend}"
    )


def summary(reports: Sequence[Report], resources: int) -> str:
    counts = [
        f"{count} {word}{'s' if count != 1 else ''}"
        for word in ("error", "warning")
        if (count := sum(item.severity == word for item in reports))
    ]
    notes = sum(item.severity == "info" for item in reports)
    counts += [f"{notes} of information"] if notes else []
    found = ", ".join(counts) if counts else "nothing found"
    return f"{found} in {resources} resources"


def sarif(reports: Sequence[Report], findings: Sequence[Finding]) -> Mapping[str, Any]:
    """OASIS SARIF 2.1.0, which code hosts show beside the lines of a change."""
    codes = sorted({finding.code for finding in findings}, key=lambda code: code.code)
    rules = [
        {
            "id": code.code, "name": code.name,
            "shortDescription": {"text": code.name},
            "fullDescription": {"text": code.why}, "help": {"text": code.mend},
            "defaultConfiguration": {"level": _LEVELS[code.severity]},
        }
        for code in codes
    ]  # fmt: skip
    results = [
        {
            "ruleId": item.code,
            "level": _LEVELS[finding.code.severity],
            "message": {"text": f"{item.resource} {item.path}: {item.message}. {item.why} {item.mend}"},
            "locations": [_location(item)],
        }
        for item, finding in zip(reports, findings, strict=True)
    ]
    driver = {"name": "marline analyze", "version": __version__, "rules": rules}
    runs = [{"tool": {"driver": driver}, "columnKind": "utf16CodeUnits", "results": results}]
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": runs}


def _location(item: Report) -> Mapping[str, Any]:
    logical = {"fullyQualifiedName": f"{item.resource} {item.path}"}
    if not item.file:
        return {"logicalLocations": [logical]}
    region = {"startLine": max(item.line, 1)}
    physical = {"artifactLocation": {"uri": item.file}, "region": region}
    return {"physicalLocation": physical, "logicalLocations": [logical]}


def echo(reports: Sequence[Report], resources: int) -> None:
    if reports:
        click.echo(text(reports))
    click.echo(summary(reports, resources), err=True)
