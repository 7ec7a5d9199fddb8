"""Search for bytes that a parser does not end well with, guided by coverage: `make fuzz`.

usage: run.py [TARGET …] [SECONDS]

Each target runs for some seconds (default 60) in a process of its own. What is found is kept as
`regressions/TARGET/HASH`, where the tests find it; what reaches new code stays in `.fuzz/`.
"""

import contextlib
import hashlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CORPUS = HERE.parents[1] / ".fuzz"
_MAX_BYTES = 4096


def main(arguments: list[str]) -> int:
    seconds = next((int(item) for item in arguments if item.isdigit()), 60)
    from targets import targets

    known = targets()
    chosen = [item for item in arguments if not item.isdigit()] or list(known)
    for name in chosen:
        if name not in known:
            sys.exit(f"no target {name!r}; there are: {', '.join(known)}")
    failed = [name for name in chosen if not _search(name, seconds)]
    print(f"findings: {', '.join(failed)}" if failed else "no findings")
    return 1 if failed else 0


def _search(name: str, seconds: int) -> bool:
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    finding = corpus.with_suffix(".finding")
    finding.unlink(missing_ok=True)
    command = [
        sys.executable, str(HERE / "run.py"), "--one", name, str(corpus), f"-max_total_time={seconds}",
        f"-max_len={_MAX_BYTES}", f"-exact_artifact_path={finding}", "-timeout=10", "-rss_limit_mb=4096",
    ]  # fmt: skip
    print(f"== {name}", flush=True)
    done = subprocess.run(command, check=False)
    if finding.exists():
        content = finding.read_bytes()
        kept = HERE / "regressions" / name / hashlib.sha256(content).hexdigest()[:16]
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(content)
        print(f"kept as {kept}")
    return done.returncode == 0


def _one(name: str, arguments: list[str]) -> None:
    """In the process of its own: instruments what it imports from here on."""
    import atheris

    with atheris.instrument_imports(include=["marline", "yaml"]):
        from targets import targets
    target = targets()[name]
    corpus = Path(arguments[0])
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)

    def attempt(data: bytes) -> None:
        with contextlib.suppress(*target.expected):
            target.run(data)

    atheris.Setup([sys.argv[0], *arguments], attempt)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        _one(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main(sys.argv[1:]))
