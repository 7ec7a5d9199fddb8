"""`marline authz test`: is what policies decide what a file says that it should be?"""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import click

from marline.cli.authz_cases import ReadCase, read_cases
from marline.cli.authz_check import with_lines
from marline.cli.authz_question import caller_of, request_of, service_of
from marline.cli.described_mesh import application_option, mesh_of_files
from marline.cli.exits import ExitCode, Failed, Missing
from marline.cli.explain_mesh import KnownMesh, running_mesh
from marline.cli.files import file_option, recursive_option
from marline.cli.options import Settings, mesh_options
from marline.cli.output import JSON, TABLE, YAML, bad, dump, good, output_option
from marline.explain.access import Access, accesses, worst
from marline.explain.arrival import Peers
from marline.explain.steps import Said

JUNIT: Final = "junit"


class Result(Said, frozen=True):
    """What became of a case."""

    name: str
    passed: bool
    expected: str
    found: str
    """`allow`, `deny`, `ask` or `unknown`; "" if the question could not be asked."""
    line: int
    file: str
    answers: tuple[Access, ...] = ()
    error: str = ""


@click.command(name="test")
@click.argument("cases", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@file_option
@recursive_option
@application_option
@output_option(TABLE, JSON, YAML, JUNIT)
@mesh_options
@click.pass_obj
def test(
    settings: Settings,
    cases: Path,
    files: tuple[Path, ...],
    recursive: bool,
    applications: tuple[Path, ...],
    output: str,
) -> int:
    """Ask whether policies decide what the cases in FILE say, one by one.

    With --filename the policies are those of files, and nothing has to run: for a pipeline, before they are
    applied. Otherwise they are those of the mesh. Exit code 0: all cases are as expected; 1: some are not.

    \b
    cases:
    - {from: default/bookinfo-productpage, to: "reviews:9080", path: /reviews/0, expect: allow}
    - {from: anyone, to: "ratings:9080", method: DELETE, expect: deny}
    """
    read = read_cases(cases)
    if files or applications:
        mesh = asyncio.run(mesh_of_files(files, applications, recursive=recursive))
    else:
        mesh = asyncio.run(running_mesh(settings.home))
    peers = Peers.of(mesh.proxies)
    results = [_ask(mesh, peers, item) for item in read]
    if output == TABLE:
        click.echo("\n".join(_shown(results)))
    elif output == JUNIT:
        click.echo(junit(results))
    else:
        dump(results, output)
    return ExitCode.OK if all(item.passed for item in results) else ExitCode.FAILED


def _ask(mesh: KnownMesh, peers: Peers, read: ReadCase) -> Result:
    case = read.case
    try:
        service, port = service_of(mesh, case.to, case.port)
        caller = replace(caller_of(mesh, case.from_, case.source_ip), claims=case.claims)
    except (Failed, Missing) as error:
        return Result(case.title, False, case.expect, "", read.line, read.file, error=error.message)
    request = request_of(service, port, case.method, case.path, case.headers.items())
    found = accesses(mesh.snapshot, peers, caller, service, port, request)
    answers = tuple(with_lines(item, mesh) for item in found)
    verdict = worst(answers)
    return Result(case.title, verdict == case.expect, case.expect, verdict, read.line, read.file, answers)


def _shown(results: Iterable[Result]) -> list[str]:
    lines, failed, total = [], 0, 0
    for item in results:
        total += 1
        failed += not item.passed
        lines.append(f"{good('ok') if item.passed else bad('FAILED')}  {item.name}")
        if not item.passed:
            lines.append(f"  {item.file}:{item.line}: {why(item)}")
    lines.append(f"{total - failed} of {total} cases are as expected")
    return lines


def why(item: Result) -> str:
    """Of a case that is not as expected."""
    if item.error:
        return item.error
    said = [f"expected {item.expected}, found {item.found}"]
    for answer in item.answers:
        by = f", by {answer.place.text}" if answer.place is not None else ""
        said.append(f"{answer.text}{by} (at {answer.workload})")
    return "; ".join(said)


def junit(results: Iterable[Result]) -> str:
    """JUnit's XML, as build servers read it."""
    every = list(results)
    failed = sum(not item.passed for item in every)
    suite = ElementTree.Element(
        "testsuite", name="marline authz test", tests=str(len(every)), failures=str(failed)
    )
    for item in every:
        case = ElementTree.SubElement(suite, "testcase", name=item.name, classname=item.file)
        case.set("line", str(item.line))
        if not item.passed:
            ElementTree.SubElement(case, "failure", message=why(item))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)
