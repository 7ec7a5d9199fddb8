"""The Gateway API's conformance suite can be run: one of its tests, against a mesh of its own."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RUNNER = Path(__file__).parents[2] / "conformance" / "run"
SUITE = "sigs.k8s.io/gateway-api/conformance"


def obstacle() -> str:
    """What keeps the suite from being run here, offline."""
    missing = [program for program in ("go", "ip", "nsenter") if shutil.which(program) is None]
    if missing:
        return f"there is no {missing[0]}"
    offline = {**os.environ, "GOPROXY": "off", "GOFLAGS": "-mod=readonly"}
    command = ["go", "list", "-deps", "-test", "."]
    found = subprocess.run(command, cwd=RUNNER.parent, env=offline, capture_output=True, check=False)
    return f"Go has no {SUITE}" if found.returncode else ""


@pytest.mark.root
@pytest.mark.timeout(300)  # the first time Go compiles the suite
@pytest.mark.skipif(os.geteuid() != 0, reason="Pods are network namespaces, which need root")
def test_a_test_of_the_suite_passes() -> None:
    reason = obstacle()
    if reason:
        pytest.skip(f"{reason}; `make conformance` fetches what it needs")
    done = subprocess.run(
        [RUNNER, "--part", "gateways", "--quick", "--test", "HTTPRouteMatching"],
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert "gateways: 1 passed, 0 failed" in done.stdout
