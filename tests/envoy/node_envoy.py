"""One Envoy that is started as the resources of a store say, without a mesh around it."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from marline.mesh.model import Capture, Proxy, Role, Workload
from marline.node.envoy import EnvoyRunner
from marline.node.errors import AdminError
from marline.node.home import Home
from marline.node.proxy_settings import FromStore
from marline.store.embedded.store import EmbeddedStore

PATIENCE = 20.0


@asynccontextmanager
async def opened_store(directory: Path) -> AsyncIterator[EmbeddedStore]:
    opened = await EmbeddedStore.open(directory / "marline.db")
    await opened.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}},
                       field_manager="test", force=True)  # fmt: skip
    yield opened
    await opened.close()


@asynccontextmanager
async def envoy_runner(store: EmbeddedStore) -> AsyncIterator[EnvoyRunner]:
    """The runner of a workload `app`, not yet started."""
    home = Home(Path(tempfile.mkdtemp(prefix="mrl-")))
    directory = home.workload("0123456789")
    directory.path.mkdir(parents=True)
    workload = Workload("default", "app-1", "app", labels=(("app", "app"),))
    proxy = Proxy("app", Role.SIDECAR, Capture.EXPLICIT, (workload,))
    log = home.path / "envoy.log"
    made = EnvoyRunner(home, directory, proxy, "app.default", log, configured=FromStore(store, proxy))
    yield made
    await made.stop()
    shutil.rmtree(home.path)


async def asked(runner: EnvoyRunner, path: str, unlike: int = 0) -> str:
    """What the admin interface says, once it does; `unlike`: the pid of an Envoy that has ended."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                if runner.pid not in (0, unlike):
                    return await runner.admin.get(path)
            except AdminError:
                pass
            await asyncio.sleep(0.05)
