"""An Envoy is started, and started again, as the ProxyConfigs of its mesh say at that moment."""

import asyncio
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from marline.mesh.model import Capture, Proxy, Role, Workload
from marline.node.envoy import AdminError, EnvoyRunner
from marline.node.home import Home
from marline.node.proxy_settings import FromStore
from marline.store.embedded.store import EmbeddedStore

PATIENCE = 20.0


def config(name: str, **spec: Any) -> dict[str, Any]:
    head = {"apiVersion": "networking.istio.io/v1beta1", "kind": "ProxyConfig"}
    return {**head, "metadata": {"name": name, "namespace": "default"}, "spec": spec}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    opened = await EmbeddedStore.open(tmp_path / "marline.db")
    await opened.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}},
                       field_manager="test", force=True)  # fmt: skip
    yield opened
    await opened.close()


@pytest.fixture
async def runner(store: EmbeddedStore) -> AsyncIterator[EnvoyRunner]:
    home = Home(Path(tempfile.mkdtemp(prefix="mrl-")))
    directory = home.workload("0123456789")
    directory.path.mkdir(parents=True)
    workload = Workload("default", "app-1", "app", labels=(("app", "app"),))
    proxy = Proxy("app", Role.SIDECAR, Capture.EXPLICIT, (workload,))
    log = home.path / "envoy.log"
    made = EnvoyRunner(home, directory, proxy, "app.default", log, configured=FromStore(store, workload))
    yield made
    await made.stop()
    shutil.rmtree(home.path)


async def threads(runner: EnvoyRunner, unlike: int = 0) -> int:
    """How many workers Envoy has, once it answers; `unlike`: the pid of one that has ended."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                if runner.pid not in (0, unlike):
                    told = json.loads(await runner.admin.get("/server_info"))
                    return int(told["command_line_options"]["concurrency"])
            except (AdminError, ValueError):
                pass
            await asyncio.sleep(0.05)


def environment(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


@pytest.mark.proves(
    "networking.ProxyConfigSpec.selector",
    "networking.ProxyConfigSpec.concurrency",
    "networking.ProxyConfigSpec.environmentVariables",
)
async def test_an_envoy_is_started_as_it_is_configured_then(
    store: EmbeddedStore, runner: EnvoyRunner
) -> None:
    await store.apply(config("general", concurrency=3), field_manager="test")
    mine = {"selector": {"matchLabels": {"app": "app"}}, "environmentVariables": {"REGION": "north"}}
    await store.apply(config("mine", **mine), field_manager="test")
    runner.start()
    assert await threads(runner) == 3
    assert environment(runner.pid)["REGION"] == "north"
    first = runner.pid
    await store.apply(config("mine", **mine, concurrency=1), field_manager="test")
    os.kill(first, signal.SIGKILL)
    assert await threads(runner, unlike=first) == 1
