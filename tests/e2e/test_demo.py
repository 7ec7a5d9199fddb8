"""`marline demo`: what it shows and concludes, and that nothing is left of it however it ends."""

import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from demo_process import Demo, demo
from running_mesh import MARLINE, MODES, eventually, needs_root

IDENTITY = "spiffe://cluster.local/ns/{}/sa/{}"


def pairs(summary: dict[str, Any]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for pair in summary["pairs"]:
        found.setdefault((pair["source"]["service"], pair["destination"]["service"]), []).append(pair)
    return found


@pytest.mark.parametrize("capture", MODES)
def test_a_smoke_run_proves_traffic_and_identities(capture: str) -> None:
    with demo("--smoke", "--capture", capture, "--requests", "30") as running:
        output, errors = running.process.communicate(timeout=110)
        assert running.process.returncode == 0, errors
        assert running.leftovers() == []
    summary = json.loads(output)
    assert (summary["ok"], summary["captureMode"], summary["problems"]) == (True, capture, [])
    assert summary["requests"] == {"sent": 30, "succeeded": 30}
    by_services = pairs(summary)
    assert {
        ("ingressgateway", "productpage"),
        ("productpage", "details"),
        ("productpage", "reviews"),
        ("reviews", "ratings"),
    } <= set(by_services)
    for (source, destination), found in by_services.items():
        for pair in found:
            assert (pair["mtls"], pair["successRate"]) == (True, 1.0)
            account = "istio-ingressgateway-service-account"
            caller = (
                ("istio-system", account) if source == "ingressgateway" else ("default", f"bookinfo-{source}")
            )
            assert pair["source"]["identities"] == [IDENTITY.format(*caller)]
            assert pair["destination"]["identities"] == [
                IDENTITY.format("default", f"bookinfo-{destination}")
            ]
    (entrance,) = by_services["ingressgateway", "productpage"]
    assert entrance["requests"] == 30
    assert sum(pair["requests"] for pair in by_services["productpage", "reviews"]) == 30


def test_ctrl_c_ends_it_and_leaves_nothing() -> None:
    with demo("--capture", "explicit") as running:
        running.await_line("7 of 7 workloads ready")
        home = running.await_file("*/mesh.json").parent
        status = json.loads(
            subprocess.check_output([MARLINE, "--home", str(home), "status", "-o", "json"], text=True)
        )
        assert {item["status"]["service"] for item in status["workloads"]} == {
            "productpage", "details", "reviews", "ratings", "ingressgateway",
        }  # fmt: skip
        assert all(item["status"]["ready"] for item in status["workloads"])
        assert {item["sync"] for item in status["workloads"]} == {"SYNCED"}
        assert running.end(signal.SIGINT, signal.SIGINT) == 0
        assert running.leftovers() == []


@pytest.mark.parametrize("capture", MODES)
def test_of_a_killed_demo_nothing_goes_on(capture: str) -> None:
    with demo("--capture", capture) as running:
        running.await_line("7 of 7 workloads ready")
        running.end(signal.SIGKILL)
        eventually(lambda: not running.leftovers(files=False), "the mesh has ended")


@pytest.fixture(scope="module")
def shown() -> Iterator[tuple[Demo, Path, int]]:
    """A demo that runs, its home and its port."""
    with demo("--capture", "explicit", "-o", "json") as running:
        first = json.loads(running.await_line("workloads"))
        gateway = next(item for item in first["workloads"] if item["status"]["kind"] == "gateway")
        yield running, running.await_file("*/mesh.json").parent, gateway["status"]["ports"]["80"]
        assert running.end(signal.SIGHUP) == 128 + signal.SIGHUP
        assert running.leftovers() == []


def test_the_page_is_there(shown: tuple[Demo, Path, int]) -> None:
    _, _, port = shown
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/productpage", timeout=20) as response:
        assert "Simple Bookstore App" in response.read().decode()


def test_a_port_that_is_taken_is_named(shown: tuple[Demo, Path, int]) -> None:
    _, _, port = shown
    second = subprocess.run(
        [MARLINE, "demo", "--port", str(port)], capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert f"needs port {port} of 127.0.0.1, but another program has it" in second.stderr
    assert "--port" in second.stderr


def test_a_mesh_that_runs_already_is_left_alone(shown: tuple[Demo, Path, int]) -> None:
    running, home, _ = shown
    second = subprocess.run(
        [MARLINE, "--home", str(home), "demo", "--smoke", "--port", "0"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert second.returncode == 1
    assert "is running" in second.stderr
    assert subprocess.run([MARLINE, "--home", str(home), "status"], capture_output=True).returncode == 0
    assert running.process.poll() is None


STARTING = ("*", "*/mesh.json", "*/run/node.pid", "*/run/xds.sock", "*/run/w/*/admin.sock")
"""Files that appear one after the other while a demo starts."""


@pytest.mark.parametrize(
    ("moment", "capture"),
    [
        *((moment, "explicit") for moment in STARTING),
        *(pytest.param(moment, "transparent", marks=needs_root) for moment in STARTING[-2:]),
    ],
)
def test_sigterm_while_it_starts_leaves_nothing(moment: str, capture: str) -> None:
    with demo("--capture", capture) as running:
        running.await_file(moment)
        assert running.end(signal.SIGTERM) == 128 + signal.SIGTERM
        assert running.leftovers() == []
