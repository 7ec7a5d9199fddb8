"""The way from this machine to its control plane: the API with the home's credentials, and identity."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from marline.node.capture import open_network
from marline.node.home import Home, MeshConfig
from marline.node.identity import serve_identities
from marline.node.machine import Machine
from marline.node.propagation import propagation
from marline.node.register import Registrar
from marline.store.remote.client import RemoteStore


@asynccontextmanager
async def open_machine(home: Home, config: MeshConfig, *, owner: bool) -> AsyncIterator[Machine]:
    """What runners need, while this block lasts. `owner`: this process is the node agent, which makes and
    removes what all runners of the mesh share.

    Raises `Unavailable` if there is no usable kubeconfig, and `CaptureUnavailable`.
    """
    async with (
        RemoteStore.from_kubeconfig(home.kubeconfig) as store,
        open_network(config, store, owner=owner) as network,
        serve_identities(home, config, store, owner=owner) as identities,
    ):
        registrar = Registrar(store)
        watching = asyncio.create_task(registrar.run(), name="registrar")
        try:
            yield Machine(home, config, store, registrar, identities, propagation(store), network)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
