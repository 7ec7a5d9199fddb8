"""An Envoy is started with the bootstrap that EnvoyFilters make, without those that keep it from starting."""

import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from node_envoy import asked, envoy_runner, opened_store

from marline.mesh.model import BootstrapPatches
from marline.mesh.proxy import from_metadata
from marline.node.envoy import EnvoyRunner
from marline.store.embedded.store import EmbeddedStore

GOOD = {"layered_runtime": {"layers": [{"name": "mine", "static_layer": {"my": {"flag": 7}}}]}}
BAD = {"static_resources": {"listeners": [{"name": "x", "address": {"pipe": {"path": "x.sock"}}}]}}


def envoy_filter(name: str, value: dict[str, Any]) -> dict[str, Any]:
    patch = {"applyTo": "BOOTSTRAP", "patch": {"operation": "MERGE", "value": value}}
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"workloadSelector": {"labels": {"app": "app"}}, "configPatches": [patch]},
    }


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    async with opened_store(tmp_path) as opened:
        yield opened


@pytest.fixture
async def runner(store: EmbeddedStore) -> AsyncIterator[EnvoyRunner]:
    async with envoy_runner(store) as made:
        yield made


async def told(runner: EnvoyRunner, unlike: int = 0) -> BootstrapPatches:
    """What the running Envoy says to the control plane of its bootstrap."""
    dump = json.loads(await asked(runner, "/config_dump", unlike))
    node = next(item["bootstrap"]["node"] for item in dump["configs"] if "bootstrap" in item)
    return from_metadata(node["id"], node["metadata"]).bootstrap


@pytest.mark.proves("networking.EnvoyConfigObjectPatch.applyTo")
async def test_the_next_start_has_the_patch_and_no_patch_keeps_an_envoy_down(
    store: EmbeddedStore, runner: EnvoyRunner
) -> None:
    await store.apply(envoy_filter("bad", BAD), field_manager="test")
    runner.start()
    first = await told(runner)
    assert [item.source.name for item in first.refused] == ["bad"]
    assert "no filter chains" in first.message
    assert first.applied == ()
    assert "my.flag" not in json.loads(await asked(runner, "/runtime"))["entries"]
    await store.apply(envoy_filter("good", GOOD), field_manager="test")
    pid = runner.pid
    os.kill(pid, signal.SIGKILL)
    second = await told(runner, unlike=pid)
    assert [item.source.name for item in second.applied] == ["good"]
    assert [item.source.name for item in second.refused] == ["bad"]
    entries = json.loads(await asked(runner, "/runtime"))["entries"]
    assert entries["my.flag"]["final_value"] == "7"
