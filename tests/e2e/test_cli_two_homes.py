"""Two meshes on one machine know nothing of each other, and each leaves nothing when it is stopped."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_process import leftovers, marline
from running_mesh import APPS, MODES, unix_request

APPLICATION = f"""
services:
  {{service}}:
    ports: [http:9080]
    command: "{sys.executable} {APPS}/echo.py"
"""


@pytest.fixture
def homes() -> Iterator[tuple[Path, Path]]:
    made = tuple(Path(tempfile.mkdtemp(prefix="mrl-", dir="/tmp")) for _ in range(2))
    yield made[0], made[1]
    for home in made:
        marline(home, "down")
        shutil.rmtree(home)


def names(home: Path) -> list[str]:
    found = marline(home, "get", "services", "-o", "name")
    assert found.code == 0, found.err
    return found.out.split()


@pytest.mark.parametrize("capture", MODES)
def test_two_meshes_run_side_by_side(homes: tuple[Path, Path], capture: str) -> None:
    for home, service in zip(homes, ("apples", "pears"), strict=True):
        text = APPLICATION.format(service=service)
        up = marline(home, "up", "--capture", capture, "-f", "-", text=text)
        assert up.code == 0, up.err
        assert service in up.out
    apples, pears = homes
    assert (names(apples), names(pears)) == (["service/apples"], ["service/pears"])
    kubeconfigs = {(home / "kubeconfig").read_text() for home in homes}
    assert len(kubeconfigs) == 2
    assert all((home / "kubeconfig").stat().st_mode & 0o077 == 0 for home in homes)

    stopped = marline(apples, "down", "-o", "json")
    assert [item["service"] for item in stopped.json()] == ["apples"]
    assert leftovers(apples) == []
    assert marline(apples, "get", "services").code == 3
    assert names(pears) == ["service/pears"]
    (socket,) = (pears / "run" / "w").glob("*/admin.sock")
    assert unix_request(socket, "GET", "/ready").strip() == "LIVE"

    assert marline(pears, "down").code == 0
    assert leftovers(pears) == []


def test_a_mesh_that_was_stopped_has_its_resources_when_it_is_back(homes: tuple[Path, Path]) -> None:
    home = homes[0]
    namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: kept}\n"
    assert marline(home, "up", "--capture", "explicit").code == 0
    assert marline(home, "apply", "-f", "-", text=namespace).code == 0
    assert marline(home, "down").code == 0
    assert marline(home, "up").code == 0
    assert marline(home, "get", "namespace", "kept").code == 0


def test_a_workload_that_does_not_get_ready_is_named(homes: tuple[Path, Path]) -> None:
    text = "services: {lazy: {ports: [http:9080], command: sleep 600}}\n"
    up = marline(homes[0], "up", "--capture", "explicit", "--timeout", "4s", "-f", "-", text=text)
    assert up.code == 1
    assert "not all workloads are ready" in up.err
    assert "lazy-" in up.err
    assert marline(homes[0], "up", "--no-wait", "-f", "-", text=text).code == 0
