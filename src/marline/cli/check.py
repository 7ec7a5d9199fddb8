"""`marline check`: what this machine can do for a mesh, what it cannot, and how to mend that."""

from typing import Any, Final

import click

from marline.cli.exits import ExitCode
from marline.cli.options import Settings, mesh_options
from marline.cli.output import TABLE, bad, doubtful, dump, good, grid, output_option
from marline.node.check import Finding, Level, judge, look

_MARKS: Final = {Level.OK: good("✓"), Level.NOTE: doubtful("!"), Level.PROBLEM: bad("✗")}


@click.command()
@output_option()
@mesh_options
@click.pass_obj
@click.pass_context
def command(context: click.Context, settings: Settings, output: str) -> None:
    """Say what this machine can do for a mesh, what it cannot, and how to mend that.

    Ends with 1 if a mesh cannot run here at all.
    """
    findings = judge(look(settings.home))
    if output == TABLE:
        click.echo(render(findings))
    else:
        dump([plain(finding) for finding in findings], output)
    if any(finding.level is Level.PROBLEM for finding in findings):
        context.exit(ExitCode.FAILED)


def render(findings: tuple[Finding, ...]) -> str:
    """A line for each finding, and below it how to mend what is not well."""
    lines = grid([(_MARKS[item.level], item.topic, item.message) for item in findings]).splitlines()
    indent = " " * (4 + max((len(item.topic) for item in findings), default=0) + 3)
    shown = []
    for line, finding in zip(lines, findings, strict=True):
        shown.append(line)
        if finding.remedy:
            shown.append(f"{indent}→ {finding.remedy}")
    return "\n".join(shown)


def plain(finding: Finding) -> dict[str, Any]:
    """A finding as JSON says it."""
    return {
        "topic": finding.topic,
        "level": finding.level.value,
        "message": finding.message,
        "remedy": finding.remedy,
    }
