"""What benchmarks print: a table for people, and JSON with all that one needs to compare two runs."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import marline
from envoys import ENVOY


def machine() -> dict[str, Any]:
    """Where the figures were measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": platform.machine(),
        "memory_gb": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
    }


def versions() -> dict[str, str]:
    """Of what."""
    answer = subprocess.run([ENVOY, "--version"], check=True, capture_output=True, text=True).stdout
    envoy = next((part for part in answer.split("/") if part.count(".") == 2 and part[0].isdigit()), answer)
    return {"marline": marline.__version__, "envoy": envoy.strip(), "python": platform.python_version()}


def document(parameters: Mapping[str, Any], figures: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON form of one run."""
    return {
        "benchmark": Path(sys.argv[0]).stem,
        "command": " ".join(["python", *sys.argv]),
        "machine": machine(),
        "versions": versions(),
        "parameters": dict(parameters),
        "figures": dict(figures),
    }


def save(path: str, content: Mapping[str, Any]) -> None:
    """Write the JSON; "": nowhere."""
    if path:
        Path(path).write_text(json.dumps(content, indent=2) + "\n")


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be; the first is text, the others are numbers."""
    widths = [max(len(line[index]) for line in (titles, *rows)) for index in range(len(titles))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (titles, ["-" * width for width in widths], *rows)
    )


def say(text: str) -> None:
    """Progress, on the error output so that the other one holds results only."""
    print(text, file=sys.stderr, flush=True)


def quantile(values: Sequence[float], q: float) -> float:
    """The value that the share `q` of all is not above (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))]
