"""Every command of every task page is run, and prints what the page says."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from running_mesh import MARLINE, free_port
from task_page import Command, Shell, fits, run_page, steps

PAGES = sorted((Path(__file__).parents[2] / "docs" / "tasks").glob("[0-9]*.md"))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", [pytest.param(page, id=page.stem) for page in PAGES])
def test_what_the_page_says_is_what_happens(page: Path, kubectl_binaries: Path) -> None:
    text = page.read_text().replace("8080", str(free_port())).replace("8081", str(free_port()))
    missing = [name for name in ("curl", "bash", "openssl") if name in text and not shutil.which(name)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    home = Path(tempfile.mkdtemp(prefix="mrl-"))
    folder = home / "here"
    folder.mkdir()
    path = f"{Path(sys.executable).parent}:{kubectl_binaries}:{os.environ['PATH']}"
    environment = os.environ | {
        "MARLINE_HOME": str(home / "m"), "PATH": path, "KUBECONFIG": str(home / "m" / "kubeconfig"),
        "HOME": str(home), "TMPDIR": str(home),
    }  # fmt: skip
    shell = Shell(folder, environment)
    try:
        assert run_page(text, folder, shell) > 0
    finally:
        shell.close()
        subprocess.run([MARLINE, "--home", str(home / "m"), "down"], check=False, capture_output=True)
        shutil.rmtree(home)


def test_pages_are_read_as_a_reader_would() -> None:
    page = "```console exit=3\n$ echo a \\\n    b\na b\n$ exit 3\n```\n```yaml\n# x.yaml\na: 1\n```\n"
    first, second, file = steps(page)
    assert first == Command("echo a  b", "a b")
    assert second == Command("exit 3", "", 3)
    assert file.name == "x.yaml"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("expected", "printed", "good"),
    [
        ("a  b", "a b\n", True),
        ("NAME … AGE", "NAME x y AGE", True),
        ("a\n…\nd", "a\nb\nc\nd", True),
        ("a\n…\nd", "a\nd", True),
        ("a\n…", "a", True),
        ("a", "a\nb", False),
        ("a.c", "abc", False),
    ],
)
def test_what_is_printed_is_compared(expected: str, printed: str, good: bool) -> None:
    assert fits(expected, printed) is good
