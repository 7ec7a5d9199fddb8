"""A workload's identity, served to its Envoy: keys made here, certificates from the control plane."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from marline.api.errors import InvalidResource
from marline.identity import endpoint
from marline.identity.agent import serve_svid
from marline.identity.errors import SignFailed
from marline.identity.peers import only_process
from marline.identity.svid import SignedSvid
from marline.node.machine import ServeIdentity
from marline.store.interface import StoreError
from marline.store.remote.client import RemoteStore


def identity_server(store: RemoteStore) -> ServeIdentity:
    """Serves SVIDs that the mesh's control plane signs."""

    async def sign(csr_pem: str, spiffe_id: str) -> SignedSvid:
        request = endpoint.request_of(csr_pem, spiffe_id)
        try:
            answer = await store.request("POST", endpoint.PATH, body=request)
            return endpoint.answer_of(answer.json())
        except (StoreError, InvalidResource) as error:
            raise SignFailed(str(error)) from error

    @asynccontextmanager
    async def serve(spiffe_id: str, socket: Path, envoy_pid: Callable[[], int]) -> AsyncIterator[None]:
        async with serve_svid(spiffe_id, socket, only_process(envoy_pid), sign):
            yield

    return serve
