"""WebAssembly modules: checked once, and kept where proxies run them from.

A module is copied to a file that is called by its checksum, when that is the one that its WasmPlugin gives.
Proxies read nothing else, so whatever becomes of the original, they run what was named.
"""

import asyncio
import hashlib
import logging
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marline.api.extensions.wasm_plugin import FILE, WasmPluginSpec
from marline.api.resource import Ref, Resource
from marline.mesh.model import ChangeSet
from marline.mesh.plugins import WASM_PLUGIN

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class WasmModules:
    """The copies in one directory."""

    directory: Path
    faults: dict[Ref, str] = field(default_factory=dict)
    """Why there is no module, for each WasmPlugin that lacks its own."""

    def fault(self, ref: Ref) -> str:
        """Why a plugin has no module; "" if it has."""
        return self.faults.get(ref, "")

    async def provide(self, change: ChangeSet) -> None:
        """Have the modules of a change in place before proxies hear of it. What cannot be had is in `faults`;
        proxies then refuse the plugin, and keep what they had before."""
        for ref in change.removed:
            self.faults.pop(ref, None)
        for item in change.changed:
            if (item.group, item.kind) == WASM_PLUGIN:
                await self._provide(item)

    async def _provide(self, item: Resource[Any]) -> None:
        self.faults.pop(item.ref, None)
        fault = await asyncio.to_thread(_copy, item.spec, self.directory)
        if fault:
            self.faults[item.ref] = fault
            _log.warning("%s: %s", item.ref, fault)


def _copy(spec: WasmPluginSpec, directory: Path) -> str:
    """Returns what is wrong, or ""."""
    target = directory / f"{spec.sha256}.wasm"
    if target.exists():
        return ""
    source = Path(spec.url.removeprefix(FILE))
    try:
        content = source.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != spec.sha256:
            return f"the SHA-256 checksum of {source} is {found}, not {spec.sha256}"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=directory, delete=False) as file:
            file.write(content)
        Path(file.name).replace(target)
    except OSError as error:
        return f"{error.filename or source}: {error.strerror or error}"
    return ""
