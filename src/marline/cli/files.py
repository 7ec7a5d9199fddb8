"""Resource files as `-f` names them: a file, a directory of files, or standard input."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from marline.api.documents import Document, read_documents
from marline.api.errors import FieldError, InvalidResource
from marline.cli.exits import Failed

_ENDINGS: Final = (".yaml", ".yml", ".json")

file_option = click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, allow_dash=True, path_type=Path),
    help="A file of resources, a directory of such files, or '-'; may be given several times.",
)
recursive_option = click.option(
    "-R", "--recursive", is_flag=True, help="Read directories below directories, too."
)


def read_files(files: tuple[Path, ...], *, recursive: bool = False) -> tuple[Document, ...]:
    """All documents of all files, in order. Raises `InvalidResource` with the faults of all files, and
    `Failed` for what cannot be read."""
    found: list[Document] = []
    faults: list[FieldError] = []
    for file in files:
        for path in _expand(file, recursive):
            try:
                found += read_documents(_read(path), "standard input" if str(path) == "-" else str(path))
            except InvalidResource as error:
                faults += error.errors
    if faults:
        raise InvalidResource("what was given", tuple(faults))
    if not found:
        raise Failed(f"there are no resources in {', '.join(str(file) for file in files)}")
    return tuple(found)


def _expand(file: Path, recursive: bool) -> Iterator[Path]:
    if not file.is_dir():
        yield file
        return
    below = sorted(path for path in file.glob("**/*" if recursive else "*") if path.suffix in _ENDINGS)
    if not below:
        raise Failed(f"there is no file that ends with {', '.join(_ENDINGS)} in {file}")
    yield from below


def _read(path: Path) -> str:
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"{path} cannot be read: {error}") from error
