"""The API server alone, as a process that tests start, stop and kill: `kubectl_server.py DIRECTORY PORT`.

Everything it writes is in DIRECTORY, the administrator's kubeconfig among it. Its only line of output says
that it answers, and on which port.
"""

import asyncio
import signal
import sys
from pathlib import Path

from marline.store.embedded.credentials import ApiCredentials, User, write_kubeconfig
from marline.store.embedded.server import serve
from marline.store.embedded.store import EmbeddedStore
from marline.store.tokens import ADMINS


async def main(directory: Path, port: int) -> None:
    store = await EmbeddedStore.open(directory / "marline.db")
    credentials = ApiCredentials.open(directory / "api")
    server = await serve(store, credentials=credentials, port=port)
    address = f"https://127.0.0.1:{server.port}"
    admin = credentials.issue(User("admin", (ADMINS,)))
    write_kubeconfig(directory / "kubeconfig", address, credentials.authority, admin)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    print(server.port, flush=True)
    await stopped.wait()
    await server.close()
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
