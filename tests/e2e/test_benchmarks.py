"""The benchmarks run, say what they measured, and leave nothing behind. How fast is not asked here."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SECONDS = 100
pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * SECONDS)]


def start(name: str, folder: Path, *options: str) -> subprocess.Popen[str]:
    """A benchmark whose temporary files are all below `folder`."""
    return subprocess.Popen(
        [sys.executable, str(BENCHMARKS / f"{name}.py"), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
        start_new_session=True,
    )


def run(name: str, folder: Path, written: Path) -> tuple[str, dict[str, Any]]:
    """What a quick run prints, and its JSON."""
    process = start(name, folder, "--quick", "--json", str(written))
    output, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    return output, json.loads(written.read_text())


def left_behind(folder: Path) -> list[str]:
    """Files in a folder, and processes that were started with something in it."""
    processes = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(folder) in command:
            processes.append(command)
    return [*map(str, folder.iterdir()), *processes]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, since Unix sockets are made below it."""
    made = Path(tempfile.mkdtemp(prefix="mrl-", dir="/tmp"))
    yield made
    shutil.rmtree(made)


def test_the_data_path_is_measured_on_every_way(folder: Path, tmp_path: Path) -> None:
    output, document = run("data_path", folder, tmp_path / "figures.json")
    figures = document["figures"]
    assert set(figures["ways"]) == {"direct", "one-hop", "pair", "pair-metrics", "pair-again", "marline"}
    for name, way in figures["ways"].items():
        assert way["requests"] > 0, name
        assert way["p50_us"] <= way["p99_us"], name
        assert len(way["rounds"]) == document["parameters"]["rounds"], name
        assert (way["cpu_us_per_request"] > 0) == (name != "direct"), name
        assert (way["resident_mb"] > 0) == (name != "direct"), name
    lower, upper = figures["cpu_ratio_lower_quartile"], figures["cpu_ratio_upper_quartile"]
    assert 0 < lower <= figures["cpu_ratio"] <= upper
    assert "sidecars of Marline" in output
    assert document["versions"]["envoy"].startswith("1.")
    assert document["machine"]["cores"] > 0
    assert left_behind(folder) == []


def test_changes_are_followed_to_the_last_acknowledgement(folder: Path, tmp_path: Path) -> None:
    output, document = run("control_plane", folder, tmp_path / "figures.json")
    figures, parameters = document["figures"], document["parameters"]
    services = parameters["services"]
    held = figures["resources_per_proxy"]
    assert held["VirtualHost"] == services + 1  # and one that is never called, so that no table is empty
    assert held["ClusterLoadAssignment"] == services + 2 * (services // 10)
    for kind in ("endpoint", "route_weight"):
        change = figures[kind]
        assert change["changes"] == parameters["changes"]
        assert 0 < change["first_ack_p50_ms"] <= change["last_ack_p50_ms"] <= change["last_ack_p99_ms"]
        assert change["bytes_per_change"] > 0
    assert figures["connect"]["bytes"] > figures["endpoint"]["bytes_per_change"]
    assert "an endpoint's health" in output
    assert left_behind(folder) == []


def test_a_change_costs_a_small_share_of_everything(folder: Path, tmp_path: Path) -> None:
    output, document = run("compile", folder, tmp_path / "figures.json")
    assert set(document["figures"]) == {"sidecar", "gateway", "api_gateway"}
    for name, figures in document["figures"].items():
        assert figures["resources"] > document["parameters"]["services"], name
        assert figures["ratio"] > 20, name  # of 200 services; of 1000 it is some hundreds
    assert "one HTTPRoute at a gateway" in output
    assert left_behind(folder) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("name", "announces"), [("data_path", "round 1 of"), ("control_plane", "connecting")]
)
def test_an_interrupted_run_leaves_nothing_behind(
    name: str, announces: str, number: signal.Signals, folder: Path
) -> None:
    process = start(name, folder, "--quick")
    assert process.stderr is not None
    assert any(line.startswith(announces) for line in process.stderr)
    process.send_signal(number)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 128 + number
    assert left_behind(folder) == []
