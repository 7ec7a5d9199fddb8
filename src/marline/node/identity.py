"""A workload's identity, served to its Envoy: keys made here, certificates from the control plane."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from marline.node.machine import ServeIdentity
from marline.store.remote.client import RemoteStore


def identity_server(store: RemoteStore) -> ServeIdentity:
    """Serves SVIDs that the mesh's control plane signs."""

    @asynccontextmanager
    async def serve(spiffe_id: str, socket: Path, envoy_pid: Callable[[], int]) -> AsyncIterator[None]:
        yield

    return serve
