"""An Envoy is started, and started again, as the ProxyConfigs of its mesh say at that moment."""

import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from node_envoy import asked, envoy_runner, opened_store

from marline.node.envoy import EnvoyRunner
from marline.store.embedded.store import EmbeddedStore


def config(name: str, **spec: Any) -> dict[str, Any]:
    head = {"apiVersion": "networking.istio.io/v1beta1", "kind": "ProxyConfig"}
    return {**head, "metadata": {"name": name, "namespace": "default"}, "spec": spec}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    async with opened_store(tmp_path) as opened:
        yield opened


@pytest.fixture
async def runner(store: EmbeddedStore) -> AsyncIterator[EnvoyRunner]:
    async with envoy_runner(store) as made:
        yield made


async def threads(runner: EnvoyRunner, unlike: int = 0) -> int:
    """How many workers Envoy has, once it answers; `unlike`: the pid of one that has ended."""
    told = json.loads(await asked(runner, "/server_info", unlike))
    return int(told["command_line_options"]["concurrency"])


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
