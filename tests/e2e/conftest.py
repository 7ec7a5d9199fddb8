"""What the tests of this layer share: the real kubectl and Helm, and an API server for each module."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kubectl_binary import unpacked
from kubectl_cluster import Cli, ServerProcess


@pytest.fixture(scope="session")
def kubectl_binaries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory that holds them, one for all workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    with unpacked(base.parent if base.name.startswith("popen-") else base) as directory:
        yield directory


@pytest.fixture(scope="module")
def cli(kubectl_binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """kubectl and Helm beside a fresh API server; tests of one module share both."""
    server = ServerProcess(tmp_path_factory.mktemp("api-server"))
    server.start()
    yield Cli(kubectl_binaries, server, tmp_path_factory.mktemp("home"))
    server.stop()


@pytest.fixture
def namespace(cli: Cli, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace for one test, gone with all that is in it after it."""
    name = request.node.name.removeprefix("test_").replace("_", "-").partition("[")[0][:60].strip("-")
    cli.kubectl("create", "namespace", name)
    yield name
    cli.kubectl("delete", "namespace", name)
