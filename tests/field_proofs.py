"""Which tests show what a field does: read from their marks, without running them.

`@pytest.mark.proves("networking.TCPSettings.maxConnections")` above a test says so. As a program this
writes the reference with them: `python tests/field_proofs.py docs/reference`.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from marline.api.reference import Proofs, pages

TESTS = Path(__file__).parent


def field_proofs() -> Proofs:
    found: dict[str, list[str]] = {}
    for file in sorted(TESTS.rglob("test_*.py")):
        for test, field in _marked(ast.parse(file.read_text())):
            link = f"[{test}](../../{file.relative_to(TESTS.parent)})"
            found.setdefault(field, []).append(link)
    return {field: tuple(dict.fromkeys(links)) for field, links in found.items()}


def _marked(module: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.proves":
                    yield from ((node.name, ast.literal_eval(field)) for field in mark.args)


def write(folder: Path) -> None:
    """Every page, and none that no kind has any more."""
    made = pages(field_proofs())
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
