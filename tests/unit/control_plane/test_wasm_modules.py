"""Modules are copied when their checksum is right, and never otherwise."""

import hashlib
from pathlib import Path
from typing import Any

from marline.api.decode import decode
from marline.api.resource import Resource
from marline.control_plane.wasm_modules import WasmModules
from marline.mesh.model import ChangeSet

CONTENT = b"\0asm module"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def plugin(file: Path, digest: str = DIGEST) -> Resource[Any]:
    return decode(
        {
            "apiVersion": "extensions.istio.io/v1alpha1",
            "kind": "WasmPlugin",
            "metadata": {"name": "x", "namespace": "default"},
            "spec": {"url": f"file://{file}", "sha256": digest},
        }
    )


async def test_a_module_is_kept_by_its_checksum_whatever_becomes_of_the_file(tmp_path: Path) -> None:
    file, modules = tmp_path / "x.wasm", WasmModules(tmp_path / "kept" / "wasm")
    _write(file, CONTENT)
    await modules.provide(ChangeSet((plugin(file),)))
    _write(file, b"another")
    await modules.provide(ChangeSet((plugin(file),)))
    assert _files(modules.directory) == {f"{DIGEST}.wasm": CONTENT}
    assert modules.fault(plugin(file).ref) == ""


async def test_what_is_missing_or_something_else_is_told_until_it_is_mended(tmp_path: Path) -> None:
    file, modules = tmp_path / "x.wasm", WasmModules(tmp_path / "wasm")
    item = plugin(file)
    await modules.provide(ChangeSet((item,)))
    assert modules.fault(item.ref) == f"{file}: No such file or directory"
    _write(file, b"another")
    await modules.provide(ChangeSet((item,)))
    assert DIGEST in modules.fault(item.ref)
    assert hashlib.sha256(b"another").hexdigest() in modules.fault(item.ref)
    assert not modules.directory.exists()
    _write(file, CONTENT)
    await modules.provide(ChangeSet((item,)))
    assert modules.fault(item.ref) == ""
    await modules.provide(ChangeSet((plugin(file, "0" * 64),)))
    await modules.provide(ChangeSet((), (item.ref,)))
    assert modules.faults == {}


def _write(file: Path, content: bytes) -> None:
    file.write_bytes(content)


def _files(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}
