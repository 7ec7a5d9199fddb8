"""Runs a task page of the documentation as its reader would, and compares what is printed.

Of a page these blocks are read, in their order:

- ```` ```yaml ```` whose first line is a comment with a file name, `# echo.yaml`: written to that file.
- ```` ```console ````: lines after `$ ` are given to one shell, and what follows each is what it must
  print. `…` stands for anything in a line, and alone for any lines; runs of blanks are alike.
  ```` ```console exit=1 ```` expects that exit code of its last command, ```` ```console eventually ````
  repeats it until it prints what is expected.

Ports 8080 and 8081, on which the pages' gateways and servers listen, are others for each run.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(?P<kind>yaml|console)(?P<options>[^\n]*)\n(?P<text>.*?)^```$", re.M | re.S)
_FILE = re.compile(r"# (?P<name>[\w.-]+\.ya?ml)\n")
_END = "end-of-the-command"
_PATIENCE = 30.0


@dataclass(frozen=True)
class FileBlock:
    name: str
    text: str


@dataclass(frozen=True)
class Command:
    text: str
    expected: str
    """What it prints; "": not compared."""
    code: int = 0
    eventually: bool = False


def steps(page: str) -> Iterator[FileBlock | Command]:
    for block in _BLOCK.finditer(page):
        if block["kind"] == "yaml":
            if named := _FILE.match(block["text"]):
                yield FileBlock(named["name"], block["text"])
        else:
            yield from _commands(block["text"], block["options"].split())


def _commands(text: str, options: list[str]) -> Iterator[Command]:
    given = [part for part in re.split(r"^\$ ", text, flags=re.M) if part.strip()]
    for number, part in enumerate(given, start=1):
        line, _, expected = part.partition("\n")
        while line.endswith("\\"):
            more, _, expected = expected.partition("\n")
            line = f"{line[:-1]} {more.strip()}"
        last = number == len(given)
        code = next((int(item[5:]) for item in options if item.startswith("exit=")), 0) if last else 0
        yield Command(line, expected.strip(), code, last and "eventually" in options)


def fits(expected: str, printed: str) -> bool:
    """Is this what a page says is printed?"""
    pattern = r"\n".join(_line_pattern(line) for line in expected.strip().splitlines())
    lines = "\n".join(" ".join(line.split()) for line in printed.strip().splitlines())
    # Any lines may also be none, with the line break beside them.
    pattern = pattern.replace(r"\n<any lines>", r"(\n.*)*").replace(r"<any lines>\n", r"(.*\n)*")
    return re.fullmatch(pattern.replace("<any lines>", r"(.|\n)*"), lines) is not None


def _line_pattern(line: str) -> str:
    if line.strip() == "…":
        return "<any lines>"
    return ".*".join(re.escape(part) for part in " ".join(line.split()).split("…"))


class Shell:
    """One bash for a whole page, so that variables and directories stay."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [shutil.which("bash") or "bash", "--norc"],
            cwd=folder, env=dict(environment), text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, command: str) -> tuple[str, int]:
        """What a command prints, on both outputs, and its exit code."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{{ {command}\n}} </dev/null\n_code=$?; echo; echo {_END} $_code\n")
        self._process.stdin.flush()
        lines: list[str] = []
        for line in self._process.stdout:
            if line.startswith(_END):
                return "".join(lines), int(line.split()[1])
            lines.append(line)
        raise AssertionError(f"the shell ended at: {command}\n{''.join(lines)}")

    def close(self) -> None:
        """End it with what it has left in the background."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)


def run_page(page: str, folder: Path, shell: Shell) -> int:
    """How many commands were run, all with what the page says."""
    count = 0
    for step in steps(page):
        if isinstance(step, FileBlock):
            (folder / step.name).write_text(step.text)
        else:
            _run(shell, step)
            count += 1
    return count


def _run(shell: Shell, command: Command) -> None:
    deadline = time.monotonic() + (_PATIENCE if command.eventually else 0)
    while True:
        printed, code = shell.run(command.text)
        good = code == command.code and (not command.expected or fits(command.expected, printed))
        if good:
            return
        if time.monotonic() > deadline:
            raise AssertionError(
                f"$ {command.text}\nexit code {code} (expected {command.code}), printed:\n{printed}\n"
                f"--- expected:\n{command.expected}"
            )
        time.sleep(0.2)
